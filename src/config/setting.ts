import type { SettingValue } from './setting-value';

/** The headings under which settings are listed, in this order. */
export const groups = [
  'Application',
  'Database',
  'HTTP server',
  'Sign-in',
  'Rate limits',
  'Payments and shipping',
  'Retention',
  'Logs and metrics',
  'Traces',
] as const;

export type Group = (typeof groups)[number];

export interface SettingOptions {
  /** What to know when it is set: further sentences of plain text, which README.md leaves out. */
  readonly details?: string;
  /** The default in words, where it depends on something else. Otherwise the value of the property is the default. */
  readonly otherwise?: string;
  /** A value that could be used as it is, for `.env.example`. */
  readonly example?: string;
  /** Its value is never shown. */
  readonly secret?: true;
  /** One of the few that README.md names. */
  readonly common?: true;
}

export interface Setting extends SettingOptions {
  readonly name: string;
  readonly group: Group;
  /** One or more sentences of plain text. */
  readonly about: string;
  readonly value: SettingValue<unknown>;
}

const declared = new Map<string, Setting>();

/**
 * Makes a property of `Config` a variable of the environment of the same name. This one declaration is what validates the
 * value and what `--help`, `.env.example`, docs/configuration.md and README.md are written from: run
 * `npm run settings:document` after a change.
 *
 * @param about one or more sentences of plain text; what the value must be and its default are added
 */
export function Setting<Value>(
  group: Group,
  value: SettingValue<Value>,
  about: string,
  options: SettingOptions = {},
): <Name extends string>(config: { readonly [name in Name]?: Value }, name: Name) => void {
  return (_config, name) => void declared.set(name, { name, group, about, value, ...options });
}

/** All of them, by group and then in the order of their declaration. */
export function settings(): Setting[] {
  return groups.flatMap((group) => [...declared.values()].filter((setting) => setting.group === group));
}
