import { type ChildProcessWithoutNullStreams, execFileSync, spawn } from 'node:child_process';
import { chmodSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { root } from './readme';

/** What curl received: status and headers. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: string;
}

export interface Ran {
  readonly output: string;
  /** Commands that ended with a status other than 0. */
  readonly failed: readonly string[];
  /** One per call of curl, in order. */
  readonly answers: readonly HttpAnswer[];
}

const marker = '--end-of-block--';

/**
 * Stricter than a terminal, so that it also finds what only some users would meet: unset variables, failures inside a
 * pipe and, as in zsh, a `?` outside of quotes that matches no file.
 */
const strict = {
  bash: `set -u -E -o pipefail; shopt -s failglob; trap 'echo "${marker} failed: $BASH_COMMAND"' ERR\n`,
  sh: 'set -u\n',
};

/** A terminal session: what one block defines, the next one finds. */
export class Shell {
  private readonly child: ChildProcessWithoutNullStreams;
  private readonly answersFile: string;
  private readonly closed: Promise<string>;
  private output = '';
  private seenAnswers = 0;
  private said: () => unknown = () => undefined;

  /** `directory` is a temporary one, for its files. */
  constructor(
    name: keyof typeof strict,
    private readonly directory: string,
    env: Readonly<Record<string, string>> = {},
  ) {
    this.answersFile = join(directory, 'answers');
    writeFileSync(this.answersFile, '');
    const { PATH = '' } = process.env;
    this.child = spawn(name, name === 'bash' ? ['--noprofile', '--norc'] : [], {
      cwd: root,
      env: { PATH: `${this.recordingCurl()}:${PATH}`, HOME: directory, ANSWERS: this.answersFile, ...env },
    });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
        this.said();
      });
    }
    this.closed = new Promise((resolve) => this.child.once('close', (code) => resolve(`The shell ended with ${code}`)));
    this.child.stdin.write(strict[name]);
  }

  /** Runs a block as if it were pasted. @throws Error when the block ends the shell or takes longer than two minutes */
  async run(text: string): Promise<Ran> {
    this.output = '';
    const file = join(this.directory, 'block.sh');
    writeFileSync(file, `${text}\n`);
    this.child.stdin.write(`. '${file}' < /dev/null; echo "${marker} status: $?"\n`);
    const ended = new RegExp(`^${marker} status: (\\d+)$`, 'm');
    const done = new Promise<undefined>((resolve) => (this.said = () => ended.test(this.output) && resolve(undefined)));
    const late = delay(120_000, 'No end after two minutes', { ref: false });
    const problem = await Promise.race([done, late, this.closed]);
    if (problem !== undefined) throw new Error(`${problem}:\n${text}\n\n${this.output}`);
    const [, status] = ended.exec(this.output)!;
    const failed = [...this.output.matchAll(new RegExp(`^${marker} failed: (.*)$`, 'gm'))].map(
      ([, command]) => command!,
    );
    if (status !== '0' && failed.length === 0) failed.push(text);
    const output = this.output.replace(new RegExp(`^${marker}.*\n`, 'gm'), '');
    return { output, failed, answers: this.newAnswers() };
  }

  async end(): Promise<void> {
    this.child.stdin.end();
    await this.closed;
  }

  private newAnswers(): HttpAnswer[] {
    const all = readFileSync(this.answersFile, 'utf8')
      .split(/^(?=HTTP\/)/m)
      .filter((headers) => headers !== '')
      .map((headers) => ({ status: Number(/^HTTP\/\S+ (\d{3})/.exec(headers)?.[1]), headers }));
    const fresh = all.slice(this.seenAnswers);
    this.seenAnswers = all.length;
    return fresh;
  }

  /** A directory with a `curl` that is the real one and keeps the headers of each answer. */
  private recordingCurl(): string {
    const directory = join(this.directory, 'bin');
    mkdirSync(directory, { recursive: true });
    const curl = execFileSync('sh', ['-c', 'command -v curl'], { encoding: 'utf8' }).trim();
    const script = `#!/bin/sh
headers=$(mktemp)
'${curl}' -D "$headers" "$@"
status=$?
cat "$headers" >> "$ANSWERS"
rm "$headers"
exit $status
`;
    writeFileSync(join(directory, 'curl'), script);
    chmodSync(join(directory, 'curl'), 0o755);
    return directory;
  }
}
