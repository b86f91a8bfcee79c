import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { root } from './readme';

const copied = [
  'src',
  'migrations',
  'dist',
  'package.json',
  'nest-cli.json',
  'tsconfig.json',
  'tsconfig.build.json',
  '.dependency-cruiser.js',
  '.prettierrc.json',
];

/** A copy of the repository that a test may change, as a reader of the README changes theirs. */
export class Checkout {
  constructor(readonly directory: string) {
    for (const path of copied)
      cpSync(join(root, path), join(directory, path), { recursive: true, preserveTimestamps: true });
    symlinkSync(join(root, 'node_modules'), join(directory, 'node_modules'));
  }

  /** Creates the file that the block's first line names. */
  create(block: string): string {
    const path = /^\/\/ (\S+)\n/.exec(block)?.[1];
    if (path === undefined) throw new Error(`The first line must be a comment with the path of the file:\n${block}`);
    const file = join(this.directory, path);
    if (existsSync(file)) throw new Error(`${path} exists already`);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, `${block}\n`);
    return path;
  }

  /** Per file: its path, then pairs of a line that is there and, marked with +, the line that comes after it. */
  change(diff: string): void {
    for (const part of diff.split('\n\n')) {
      const [path, ...lines] = part.split('\n');
      const file = join(this.directory, path!.trim());
      let text = readFileSync(file, 'utf8');
      for (const [nth, line] of lines.entries()) {
        if (!line.startsWith('+')) continue;
        const before = lines[nth - 1]!.slice(1);
        const found = text.split('\n').filter((each) => each === before).length;
        if (found !== 1) throw new Error(`${path} has this line ${found} times: ${before}`);
        text = text.replace(`${before}\n`, () => `${before}\n${line.slice(1)}\n`);
      }
      writeFileSync(file, text);
    }
  }

  /** Runs a tool from node_modules. @throws Error with what it printed when it fails */
  run(tool: string, ...args: string[]): void {
    try {
      execFileSync(process.execPath, [join(root, 'node_modules', tool), ...args], {
        cwd: this.directory,
        encoding: 'utf8',
      });
    } catch (error) {
      const { stdout, stderr } = error as { stdout: string; stderr: string };
      throw new Error(`${tool} ${args.join(' ')} failed:\n${stdout}${stderr}`, { cause: error });
    }
  }
}
