import { groups } from './setting';
import { described } from './setting-text';

const width = 88;

/** What `--help` prints. */
export function help(): string {
  return `Orderloom, an event-sourced order platform.

Usage: npm start [-- --help | --migrate | --reset-admin-password]

  --migrate               bring the database up to date and end
  --reset-admin-password  give the administrator ADMIN_EMAIL a new random password,
                          print it and end; also while the server runs
  --help                  this text

Settings are variables of the environment. None is needed for a trial. A setting that
is shown with a value has it by default.
${groups.map(settingsOf).join('')}`.trimEnd();
}

function settingsOf(group: (typeof groups)[number]): string {
  const listed = described().filter((setting) => setting.group === group);
  if (listed.length === 0) return '';
  const entries = listed.map(({ name, preset, text }) => `  ${name}${preset && `=${preset}`}\n${wrapped(text, 6)}\n`);
  return `\n${group}\n\n${entries.join('')}`;
}

function wrapped(text: string, indent: number): string {
  const lines: string[] = [];
  for (const word of text.split(' ')) {
    const line = lines.at(-1);
    if (line === undefined || indent + line.length + 1 + word.length > width) lines.push(word);
    else lines[lines.length - 1] = `${line} ${word}`;
  }
  return lines.map((line) => ' '.repeat(indent) + line).join('\n');
}
