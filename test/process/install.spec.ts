import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Checkout } from '../readme/checkout';

const root = join(__dirname, '../..');
const { satisfies } = jest.requireActual<{ satisfies(version: string, range: string): boolean }>('semver');

describe('an installation', () => {
  let directory: string;

  beforeEach(() => (directory = mkdtempSync(join(tmpdir(), 'orderloom-install-'))));
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it.each(['20.19.0', '20.20.2', '22.13.0', '24.11.0'])('has no package that refuses Node %s', (node) => {
    type Packages = Record<string, { engines?: { node?: string } }>;
    const { packages } = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as { packages: Packages };
    const refusing = Object.entries(packages).filter(([, { engines }]) => !satisfies(node, engines?.node ?? '*'));
    expect(refusing.map(([path, { engines }]) => `${path}: ${engines?.node}`)).toEqual([]);
  });

  it('without the build tools says how to get them', () => {
    for (const path of ['package.json', 'nest-cli.json', 'src', 'migrations']) {
      cpSync(join(root, path), join(directory, path), { recursive: true });
    }
    // as `npm ci --omit=dev` leaves it
    mkdirSync(join(directory, 'node_modules/.bin'), { recursive: true });
    for (const command of [['start'], ['run', 'migrate']]) {
      const { status, stderr, stdout } = spawnSync('npm', ['--silent', ...command], {
        cwd: directory,
        encoding: 'utf8',
      });
      expect({ status, output: stdout + stderr }).toEqual({
        status: 1,
        output: expect.stringMatching(/^The build tools are not installed\. Run npm ci --include=dev, or .*\n$/),
      });
    }
  });

  it('takes settings from .env at npm start, and rather from the environment', () => {
    new Checkout(directory);
    writeFileSync(join(directory, '.env'), 'PORT=of-the-file\n');
    const start = (env: Record<string, string> = {}) =>
      spawnSync('npm', ['--silent', 'start'], {
        cwd: directory,
        encoding: 'utf8',
        env: { PATH: process.env['PATH'], ...env },
      }).stderr;
    expect(start()).toMatch(/Configuration: PORT must be .*, not "of-the-file"\n$/);
    expect(start({ PORT: 'of-the-environment' })).toMatch(
      /Configuration: PORT must be .*, not "of-the-environment"\n$/,
    );
    // the copy may be built anew
  }, 180_000);
});
