import { groups } from './setting';
import { type DescribedSetting, described } from './setting-text';

/** Files that are written from the declaration of the settings, and how to make them from what they are. */
export const documents: Readonly<Record<string, (current: string) => string>> = {
  '.env.example': environmentFile,
  'docs/configuration.md': (current) => between(current, groups.map(section).join('').trim()),
  'README.md': (current) => between(current, mostUsed()),
};

const [begin, end] = ['<!-- settings: written by npm run settings:document -->', '<!-- end of settings -->'];

/** @throws Error when the text has not got the two markers */
function between(current: string, written: string): string {
  const [before, after] = [current.indexOf(begin), current.indexOf(end)];
  if (before < 0 || after < before) throw new Error(`Expected a line ${begin} and after it a line ${end}`);
  return `${current.slice(0, before)}${begin}\n\n${written}\n\n${current.slice(after)}`;
}

function environmentFile(): string {
  const intro =
    '# The settings of Orderloom. docs/configuration.md shows them as tables.\n' +
    '# Copy this file to .env, which npm start reads, and remove the # of what you set.\n' +
    '# A line shows the default or an example. The environment takes precedence over .env.\n';
  const entry = ({ name, preset, example, text }: DescribedSetting) =>
    `\n${commented(text)}\n#${name}=${preset || (example ?? '')}\n`;
  return intro + groups.map((group) => settingsOf(group).map(entry).join('')).join('');
}

function commented(text: string): string {
  const lines = text.match(/.{1,116}(?: |$)/g) ?? [];
  return lines.map((line) => `# ${line.trimEnd()}`).join('\n');
}

const settingsOf = (group: string) => described().filter((setting) => setting.group === group);

function section(group: string): string {
  const listed = settingsOf(group);
  if (listed.length === 0) return '';
  const rows = listed.map((setting) => {
    const { name, value, about, details = '' } = setting;
    return [`\`${name}\``, marked(value.form), presetOf(setting), marked(`${about} ${details}`.trim())];
  });
  return `## ${group}\n\n${table(['setting', 'value', 'default', 'meaning'], rows)}\n\n`;
}

function mostUsed(): string {
  const common = described().filter((setting) => setting.common);
  const rows = common.map((setting) => [`\`${setting.name}\``, presetOf(setting), marked(setting.about)]);
  return table(['setting', 'default', 'meaning'], rows);
}

function presetOf({ preset, otherwise = '' }: DescribedSetting): string {
  return preset ? `\`${preset}\`` : marked(otherwise);
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${'---|'.repeat(head.length)}`, ...rows.map(line)].join('\n');
}

/** Names of settings and URLs as code. */
function marked(text: string): string {
  return text.replace(/\bpostgres:\/\/\S+?(?=[,.]?(?: |$))|\b[A-Z]+(?:_[A-Z]+)+\b/g, '`$&`');
}
