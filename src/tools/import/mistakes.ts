import { ImportError } from './import-error';

/** How many a message lists; the rest is counted. */
const listed = 20;

/** What is wrong with a file. All of it is collected, so that nobody has to find it one run at a time. */
export class Mistakes {
  private readonly first: { readonly line: number; readonly what: string }[] = [];
  private count = 0;

  constructor(private readonly file: string) {}

  /** `line` counts from 1. */
  add(line: number, what: string): void {
    this.count += 1;
    if (this.first.length < listed) this.first.push({ line, what });
  }

  /** @throws ImportError when there are any */
  assertNone(): void {
    if (this.count === 0) return;
    const rest = this.count - this.first.length;
    const mistakes = this.count === 1 ? 'a mistake' : `${this.count.toLocaleString('en-GB')} mistakes`;
    throw new ImportError(
      [
        `${this.file} has ${mistakes}:`,
        ...this.first.toSorted((a, b) => a.line - b.line).map(({ line, what }) => `  line ${line}: ${what}`),
        ...(rest > 0 ? [`  and ${rest.toLocaleString('en-GB')} more`] : []),
        'Nothing has been sent. Correct the file, or say with an option how to read it (--help), and run the import again.',
      ].join('\n'),
    );
  }
}
