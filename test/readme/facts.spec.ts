import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readConfig } from '../../src/config/config';
import { help } from '../../src/config/help';
import { blocks, blocksIn, blocksOf, inlineCode, kindOf, prose, root } from './readme';

const text = (path: string) => readFileSync(join(root, path), 'utf8');
const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };
const folders = (path: string) =>
  readdirSync(join(root, path), { withFileTypes: true }).flatMap((entry) => (entry.isDirectory() ? [entry.name] : []));
const missing = (names: readonly string[], exists: (name: string) => boolean) => names.filter((name) => !exists(name));

/** A setting of the application, as `--help` lists them. */
const isSetting = (name: string) => new RegExp(`\\b${name}\\b`).test(help());

describe('the README', () => {
  let directory: string;
  beforeAll(() => (directory = mkdtempSync(join(tmpdir(), 'orderloom-readme-'))));
  afterAll(() => rmSync(directory, { recursive: true }));

  it('has no code block that no test runs', () => {
    expect(blocks.map(kindOf).length).toBeGreaterThan(10);
    const [unknown] = blocksIn('# Start\n\n```python\nprint()\n```\n');
    expect(() => kindOf(unknown!)).toThrow('README.md:3: no test runs this block (python, under "Start")');
  });

  it('has shell blocks that also work when they are pasted into an interactive zsh', () => {
    // without interactive_comments, zsh takes a # for an argument; an alias does not exist until the paste is over
    for (const { language, line, text } of blocks.filter(({ language }) => language === 'sh')) {
      expect({ language, line, text }).toEqual({ language, line, text: expect.not.stringMatching(/#|!|\balias\b/) });
    }
  });

  it('shows each folder of modules and kernel on its map', () => {
    const [map] = blocksOf('map');
    const shown = (layer: string) =>
      new RegExp(`^${layer}/ +(.+)$`, 'm').exec(map!.text)![1]!.split(/ {2,}/).toSorted();
    expect(shown('modules')).toEqual(folders('src/modules').toSorted());
    expect(shown('kernel')).toEqual(folders('src/kernel').toSorted());
    expect(shown('gateway').filter((name) => !folders('src/gateway').includes(name))).toEqual([]);
  });

  it('names npm scripts that exist', () => {
    const commands = [...inlineCode, ...blocks.map(({ text }) => text)].join('\n');
    const named = [...commands.matchAll(/\bnpm (?:run )?([a-z][\w:-]*)/g)].map(([, name]) => name!);
    const builtIn = ['ci', 'run'];
    expect(
      missing(
        named.filter((name) => !builtIn.includes(name)).map((name) => `npm run ${name}`),
        (command) => command.slice(8) in scripts,
      ),
    ).toEqual([]);
    expect(named).toContain('test:crash');
  });

  it('has scripts that read .env whenever they run the application', () => {
    const running = Object.entries(scripts).filter(([, script]) =>
      /nest start|dist\/src\/(main|replicas|tools\/import)/.test(script),
    );
    expect(running.map(([name]) => name)).toContain('dev');
    for (const [name, script] of running) {
      const readsIt = expect.stringContaining('$([ ! -f .env ] || echo --env-file=.env)') as unknown;
      expect({ name, script }).toEqual({ name, script: readsIt });
    }
  });

  it('names settings and options that exist', () => {
    const settings = inlineCode.flatMap((code) => /^([A-Z]+(?:_[A-Z]+)+|DOCS|METRICS)(?:=\w+)?$/.exec(code)?.[1] ?? []);
    expect(missing(settings, isSetting)).toEqual([]);
    expect(settings).toContain('DATABASE_URL');
    const options = inlineCode.flatMap((code) => /^npm start -- (--[\w-]+)$/.exec(code)?.[1] ?? []);
    expect(missing(options, (option) => help().includes(option))).toEqual([]);
    expect(options).toContain('--help');
  });

  it('names files and folders that exist, and links to them', () => {
    const places = ['', 'src', 'src/modules', 'src/modules/orders'];
    const exists = (path: string) => places.some((place) => existsSync(join(root, place, path)));
    const named = inlineCode.filter((code) => /^[\w.-]+(\/[\w.-]+)*\.ts$|^(test|gateway|kernel|src)\//.test(code));
    expect(missing(named, exists)).toEqual([]);
    expect(named.length).toBeGreaterThan(15);
    const links = [...prose.matchAll(/\]\((?!https?:)([^)]+)\)/g)].map(([, link]) => link!);
    expect(missing(links, (link) => existsSync(join(root, link)))).toEqual([]);
  });

  it('names all payment methods of the sandbox', () => {
    const known = new Set(text('src/modules/payments/sandbox-provider.ts').match(/\bsandbox_\w+(?=:)/g));
    expect(new Set(inlineCode.filter((code) => code.startsWith('sandbox_')))).toEqual(known);
  });

  it('counts the orders of the sample file as they are', () => {
    const said = /Import (\d+) real orders/.exec(prose)?.[1];
    const file = 'test/data/online-retail-10k.csv';
    const report = join(directory, 'report.csv');
    const out = execFileSync(process.execPath, ['dist/src/tools/import.js', file, '--dry-run', '--report', report], {
      cwd: root,
      encoding: 'utf8',
    });
    expect(out).toContain(` ${said} orders,`);
  });

  it('starts with commands that need nothing else', () => {
    expect(blocksOf('commands').map(({ text }) => text)).toEqual(['npm ci && npm start']);
    const { engines } = JSON.parse(text('package.json')) as { engines: { node: string } };
    const [last, ...others] = engines.node.match(/\d+\.\d+/g)!.reverse();
    expect(prose).toContain(`Node ${others.reverse().join(', ')} or ${last}, or later releases`);
  });

  it('starts replicas with what test/process/replicas.spec.ts runs', () => {
    expect(blocksOf('replicas')[0]!.text).toMatch(/^npm run start:replicas -- \d$/);
    expect(scripts['start:replicas']).toMatch(/exec node .*--enable-source-maps dist\/src\/replicas\/start\.js$/);
    expect(text('test/process/replica-set.ts')).toContain(`'replicas/start'`);
  });

  describe('on Docker', () => {
    const [compose, single] = blocksOf('docker').map(({ text }) => text);
    const start = 'docker compose up --build';
    const write = () => {
      execFileSync('sh', ['-e', '-c', compose!.replace(start, '')], { cwd: directory, stdio: 'inherit' });
      return readFileSync(join(directory, '.env'), 'utf8');
    };

    it('writes an environment file that the configuration accepts, for its owner only, and never replaces it', () => {
      const first = write();
      const values = Object.fromEntries(
        first
          .trimEnd()
          .split('\n')
          .map((line) => line.split('=')),
      );
      for (const value of Object.values(values)) expect(value).toMatch(/^[A-Za-z0-9]{32,}$/);
      const DATABASE_URL = `postgres://orderloom_app:${values['APP_DB_PASSWORD']}@postgres:5432/orderloom`;
      const DATABASE_OWNER_URL = `postgres://orderloom:${values['POSTGRES_PASSWORD']}@postgres:5432/orderloom`;
      const provided = { NODE_ENV: 'production', PAYMENT_PROVIDER: 'sandbox' };
      const environment = { ...provided, DATABASE_URL, DATABASE_OWNER_URL, ...values };
      expect(() => readConfig(environment)).not.toThrow();
      expect(statSync(join(directory, '.env')).mode & 0o777).toBe(0o600);
      expect(write()).toBe(first);
    });

    it('adds what an environment file lacks that was copied from .env.example, and keeps the rest', () => {
      const copy = text('.env.example').replace(/^#ADMIN_PASSWORD=$/m, 'ADMIN_PASSWORD=chosen-by-its-owner');
      writeFileSync(join(directory, '.env'), copy, { mode: 0o644 });
      const added = write()
        .replace(copy, '')
        .match(/^\w+(?==\w{32,}$)/gm);
      expect(added).toEqual(['JWT_SECRET', 'POSTGRES_PASSWORD', 'APP_DB_PASSWORD']);
      expect(statSync(join(directory, '.env')).mode & 0o777).toBe(0o600);
      rmSync(join(directory, '.env'));
    });

    it('gives Docker Compose every value that it requires', () => {
      const file = text('docker-compose.yml');
      const written = write().match(/^\w+/gm)!.toSorted();
      for (const name of written) expect(file).toContain(`\${${name}:`);
      const required = [...new Set(Array.from(file.matchAll(/\$\{(\w+):\?/g), ([, name]) => name!))].toSorted();
      expect(required).toEqual(written);
      const [, email] = /ADMIN_EMAIL:-([^}]+)\}/.exec(file)!;
      expect(prose).toContain(`Sign in as \`${email}\``);
    });

    it('starts the replicas with services, a profile and a port that there are', () => {
      const file = text('docker-compose.yml');
      const [, profile, service] = /^docker compose --profile (\S+) up --build (\S+)$/.exec(
        blocksOf('replicas')[1]!.text,
      )!;
      expect(file).toMatch(new RegExp(`^  ${service}:\n    image: caddy:\\d+\n    profiles: \\[${profile}\\]`, 'm'));
      const [, port] = /BALANCER_PORT:-(\d+)\}/.exec(file)!;
      expect(prose).toContain(`<http://127.0.0.1:${port}>`);
    });

    it('uses files, folders and ports that the image has', () => {
      expect(compose!.split('\n').at(-1)).toBe(start);
      const image = text('Dockerfile');
      const [build, run] = single!.split('\n');
      expect(build).toBe('docker build -t orderloom .');
      const [, port, volume] = /-p \S+:(\d+) -v \w+:(\S+) /.exec(run!)!;
      const environment = Object.fromEntries(
        Array.from(run!.matchAll(/-e (\w+)=(\S+)/g), ([, name, value]) => [name, value]),
      );
      expect(image).toContain(`EXPOSE ${port}`);
      expect(image).toContain(`VOLUME ${volume}`);
      expect(() => readConfig({ NODE_ENV: 'production', ...environment })).not.toThrow();
      expect(missing(Object.keys(environment), isSetting)).toEqual([]);
    });
  });
});
