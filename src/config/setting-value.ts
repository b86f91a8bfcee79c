import * as ipaddr from 'ipaddr.js';
import { isEmail } from 'class-validator';
import { parseDatabaseUrl } from './database-url';
import { RequestLimit } from './request-limit';

/** What a setting can be set to. */
export interface SettingValue<Value> {
  /** Continues a sentence that begins with "NAME must be". */
  readonly form: string;
  /** @throws Error whose message continues a sentence that begins with the name of the setting */
  read(text: string): Value;
}

/** @param read undefined for a text that is not of the form */
const of = <Value>(form: string, read: (text: string) => Value | undefined): SettingValue<Value> => ({
  form,
  read: (text) => {
    const value = read(text);
    if (value === undefined) throw new Error(`must be ${form}`);
    return value;
  },
});

/** @param unit as in "a whole number of seconds" */
export function wholeNumber(least: number, most: number, unit?: string): SettingValue<number> {
  const [from, to] = [least, most].map((bound) => bound.toLocaleString('en-GB', { useGrouping: bound >= 100_000 }));
  const read = (text: string) => {
    const value = /^\d{1,15}$/.test(text) ? Number(text) : NaN;
    return value >= least && value <= most ? value : undefined;
  };
  return of(`a whole number ${unit ? `of ${unit} ` : ''}from ${from} to ${to}`, read);
}

export const flag: SettingValue<boolean> = of('true or false', (text) => ({ true: true, false: false })[text]);

export function oneOf<const Choice extends string>(...choices: readonly Choice[]): SettingValue<Choice> {
  const form = [choices.slice(0, -1).join(', '), choices.at(-1)].filter(Boolean).join(' or ');
  return of(form, (text) => choices.find((choice) => choice === text));
}

export function text(least: number, most: number, form = `${least} to ${most} characters`): SettingValue<string> {
  return of(form, (value) => (value.length >= least && value.length <= most ? value : undefined));
}

/** @param form of the whole list; how its parts are separated is added */
export function list<Part>(form: string, part: (text: string) => Part | undefined): SettingValue<Part[]> {
  return of(`${form}, separated by commas`, (value) => {
    const parts = value.split(',').map((each) => part(each.trim()));
    return parts.includes(undefined) ? undefined : (parts as Part[]);
  });
}

export const networks = list('IP addresses or networks, such as 10.0.0.0/8', (part) =>
  (part.includes('/') ? ipaddr.isValidCIDR(part) : ipaddr.isValid(part)) ? part : undefined,
);

/** As browsers write them in the header Origin. Neither `*` nor `null`: any page can have that one. */
export const origins = list('origins, such as https://shop.example.com, without a path', (part) =>
  /^https?:[^*]+$/.test(part) && URL.canParse(part) && new URL(part).origin === part ? part : undefined,
);

export const email: SettingValue<string> = of('an e-mail address', (value) =>
  isEmail(value, { require_tld: false }) ? value : undefined,
);

export const requestLimit: SettingValue<RequestLimit | 'off'> = of(
  'requests and seconds, such as 600/60, or off',
  (value) => {
    const [, quota, seconds] = /^(\d{1,9})\/(\d{1,5})$/.exec(value)?.map(Number) ?? [];
    if (quota && seconds && seconds <= 86_400) return new RequestLimit(quota, seconds);
    return value === 'off' ? value : undefined;
  },
);

/** Longer than 15 characters and without spaces, so that it can stand in a header. */
export const token: SettingValue<string> = of('16 to 200 characters without spaces', (value) =>
  /^\S{16,200}$/.test(value) ? value : undefined,
);

export const ratio: SettingValue<number> = of('a number from 0 to 1', (value) =>
  /^[\d.]{1,20}$/.test(value) && Number(value) <= 1 ? Number(value) : undefined,
);

export const httpUrl: SettingValue<string> = of('a URL that begins with http:// or https://', (value) =>
  /^https?:\/\/\S+$/.test(value) && URL.canParse(value) ? value : undefined,
);

export const databaseUrl: SettingValue<string> = {
  form: 'a URL such as postgres://user:password@host:port/database',
  read: (value) => {
    parseDatabaseUrl(value);
    return value;
  },
};

/** @param weakness continues a sentence that begins with the name of the setting; undefined for a good one */
export function signingKey(weakness: (value: string) => string | undefined): SettingValue<string> {
  return {
    form: 'at least 32 random characters, such as the output of openssl rand -hex 32',
    read: (value) => {
      const flaw = weakness(value);
      if (flaw) throw new Error(`${flaw}: set it to the output of openssl rand -hex 32`);
      return value;
    },
  };
}

/** Without a query or fragment. Kept to the letter, since it is compared with what tokens name. */
export const issuer: SettingValue<string> = of('a URL such as https://login.example.com/realms/shop', (value) =>
  /^https?:\/\/[^?#\s]+$/.test(value) && URL.canParse(value) ? value : undefined,
);

export const origin: SettingValue<string> = of('a URL without a path, such as https://shop.example.com', (value) => {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  return url && /^https?:$/.test(url.protocol) && url.href === `${url.origin}/` ? url.origin : undefined;
});

/** A name may contain `=`. */
export const roleMapping = list('NAME=admin or NAME=staff', (part) => {
  const [, name, role] = /^(\S.*?)\s*=\s*(staff|admin)$/.exec(part) ?? [];
  return name && role ? ([name, role as 'staff' | 'admin'] as const) : undefined;
});
