import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(__dirname, '../..');
export const readme = readFileSync(join(root, 'README.md'), 'utf8');

/** A fenced code block of the README. */
export interface Block {
  readonly language: string;
  readonly text: string;
  /** Line of its opening fence, from 1. */
  readonly line: number;
  /** The heading above it, without `#`. */
  readonly section: string;
}

/** Where blocks may stand, in which language, and how they are tested. A block that fits no row fails the tests. */
const kinds = [
  { kind: 'commands', section: 'Start', languages: ['sh'] },
  { kind: 'tour', section: 'Your first order', languages: ['sh'] },
  { kind: 'tour', section: 'Import orders', languages: ['sh'] },
  { kind: 'map', section: 'How it works', languages: ['text'] },
  { kind: 'module', section: 'Add a module', languages: ['ts', 'diff'] },
  { kind: 'module-tour', section: 'Add a module', languages: ['sh'] },
  { kind: 'docker', section: 'Docker', languages: ['sh'] },
  { kind: 'replicas', section: 'Replicas', languages: ['sh'] },
  { kind: 'metrics', section: 'Metrics', languages: ['text'] },
  { kind: 'promql', section: 'Metrics', languages: ['promql'] },
] as const;

export type Kind = (typeof kinds)[number]['kind'];

/** @throws Error for a block that no test knows */
export function kindOf({ language, line, section }: Block): Kind {
  const found = kinds.find((each) => each.section === section && each.languages.some((name) => name === language));
  if (found) return found.kind;
  throw new Error(
    `README.md:${line}: no test runs this block (${language || 'no language'}, under "${section}"). ` +
      'Write one and add a row to test/readme/readme.ts.',
  );
}

export function blocksIn(markdown: string): Block[] {
  const blocks: Block[] = [];
  let section = '';
  let open: { fence: string; language: string; line: number; text: string[] } | undefined;
  for (const [nth, text] of markdown.split('\n').entries()) {
    const [, fence, language] = /^\s*(`{3,}|~{3,})\s*(.*?)\s*$/.exec(text) ?? [];
    if (open) {
      if (fence?.startsWith(open.fence) && language === '') {
        blocks.push({ language: open.language, text: open.text.join('\n'), line: open.line, section });
        open = undefined;
      } else open.text.push(text);
    } else if (fence !== undefined) {
      open = { fence, language: language!, line: nth + 1, text: [] };
    } else section = /^#+ (.+?)\s*$/.exec(text)?.[1] ?? section;
  }
  if (open) throw new Error(`README.md:${open.line}: the block is never closed`);
  return blocks;
}

export const blocks = blocksIn(readme);

export const blocksOf = (kind: Kind): Block[] => blocks.filter((block) => kindOf(block) === kind);

/** The README's text outside of its blocks, and what stands there between backticks. */
export const prose = readme.replace(/^(```+)[^`]*?^\1$/gms, '');
export const inlineCode = [...prose.matchAll(/`([^`\n]+)`/g)].map(([, code]) => code!);

/** Fills in what the reader fills in (the password) and what differs in a test (the port). */
export function filledIn(text: string, { port, password }: { port: number; password: string }): string {
  return text.replaceAll(':3000', `:${port}`).replace("PASSWORD='paste it here'", `PASSWORD='${password}'`);
}
