import { execFile, execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { ConfigError, readConfig } from '../../src/config/config';
import { signingSecret } from '../../src/config/signing-secret';

const built = join(__dirname, '../../dist/src/config/signing-secret.js');
const script = `require(process.argv[1]).signingSecret({ DATA_DIR: process.argv[2] }).then(console.log, (error) => {
  console.error(error.message);
  process.exit(1);
})`;
const onLinux = process.platform === 'linux' ? it : it.skip;

describe('the signing secret', () => {
  let directory: string;
  let nth = 0;
  /** A data directory of its own for each test. */
  let DATA_DIR: string;
  const file = () => join(DATA_DIR, 'signing-secret');

  beforeAll(() => (directory = mkdtempSync(join(tmpdir(), 'orderloom-secret-'))));
  beforeEach(() => (DATA_DIR = join(directory, String(++nth))));
  afterAll(() => rmSync(directory, { recursive: true, force: true }));

  const kept = (text: string) => {
    mkdirSync(DATA_DIR);
    writeFileSync(file(), text, { mode: 0o600 });
    return signingSecret({ DATA_DIR });
  };

  it('is made once, is random, and is for its owner only', async () => {
    const secret = await signingSecret({ DATA_DIR });
    expect(secret).toMatch(/^[\w-]{64}$/);
    expect(await signingSecret({ DATA_DIR })).toBe(secret);
    expect(statSync(file()).mode & 0o777).toBe(0o600);
    expect(readdirSync(DATA_DIR)).toEqual(['signing-secret']);
  });

  it.each([
    ['is empty', ''],
    ['has fewer than 32 characters', 'too-short-to-be-a-secret'],
    ['has fewer than 32 characters', ' '.repeat(64)],
    ['repeats itself', 'a'.repeat(64)],
    ['repeats itself', 'secret'.repeat(10)],
    ['is a simple sequence', 'abcdefghijklmnopqrstuvwxyz0123456789'],
    ['is the published default', 'for-local-use-only-0123456789abcdef'],
  ])('in a file that %s is refused, with what to do', async (weakness, text) => {
    const refused = kept(text);
    await expect(refused).rejects.toThrow(ConfigError);
    await expect(refused).rejects.toThrow(new RegExp(`signing-secret ${weakness}.*delete the file and start again`));
    expect(readFileSync(file(), 'utf8')).toBe(text);
  });

  it.each([
    ['has fewer than 32 characters', 'short'],
    ['has fewer than 32 characters', ' '.repeat(40)],
    ['repeats itself', '0123456789'.repeat(4)],
    ['is the published default', 'for-local-use-only-0123456789abcdef'],
  ])('in JWT_SECRET that %s is refused in every environment', (weakness, JWT_SECRET) => {
    for (const NODE_ENV of ['development', 'test', 'production']) {
      const read = () => readConfig({ NODE_ENV, JWT_SECRET });
      expect(read).toThrow(ConfigError);
      expect(read).toThrow(new RegExp(`JWT_SECRET ${weakness}.*openssl rand -hex 32`));
    }
  });

  it('in JWT_SECRET is accepted as `openssl rand` makes it', () => {
    for (const format of ['-hex', '-base64']) {
      for (let round = 0; round < 20; round++) {
        const JWT_SECRET = execFileSync('openssl', ['rand', format, '32'], { encoding: 'utf8' }).trim();
        expect(readConfig({ JWT_SECRET }).JWT_SECRET).toBe(JWT_SECRET);
      }
    }
  });

  it('is closed to other users when it was open to them', async () => {
    const secret = await signingSecret({ DATA_DIR });
    chmodSync(file(), 0o644);
    const said: string[] = [];
    expect(await signingSecret({ DATA_DIR }, (line) => said.push(line))).toBe(secret);
    expect(said.join()).toContain('was open to other users');
    expect(statSync(file()).mode & 0o777).toBe(0o600);
  });

  it('is the same one for processes that start together', async () => {
    const starts = Array.from({ length: 8 }, () =>
      promisify(execFile)(process.execPath, ['-e', script, built, DATA_DIR]),
    );
    const secrets = (await Promise.all(starts)).map(({ stdout }) => stdout.trim());
    expect(new Set(secrets).size).toBe(1);
    expect(secrets[0]).toMatch(/^[\w-]{64}$/);
    expect(readdirSync(DATA_DIR)).toEqual(['signing-secret']);
  }, 60_000);

  onLinux('leaves no file behind when the disk is full, and says so', async () => {
    mkdirSync(DATA_DIR);
    // no file may grow: writing fails as on a full disk
    const full = ['-c', 'trap "" XFSZ; ulimit -f 0; exec "$@"', 'sh', process.execPath, '-e', script, built, DATA_DIR];
    const { code, stderr } = await promisify(execFile)('sh', full).then(
      () => ({ code: 0, stderr: '' }),
      (error: { code: number; stderr: string }) => error,
    );
    expect({ code, stderr }).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(
        /^The signing secret cannot be kept in .*: remove the cause, choose another DATA_DIR/,
      ),
    });
    expect(existsSync(file())).toBe(false);
    expect(readdirSync(DATA_DIR)).toEqual([]);
    expect(await signingSecret({ DATA_DIR })).toMatch(/^[\w-]{64}$/);
  });
});
