import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppProcess, freePort } from '../process/app-process';
import { scrape } from '../support/metrics';
import { blocksOf, inlineCode, root } from './readme';
import { Shell } from './shell';
import { takeTour } from './tour';

jest.setTimeout(240_000);

/** The tour of the README in the state that a first `npm start` without any setting leaves. */
describe('the README’s tour', () => {
  let directory: string;
  let app: AppProcess;
  let port: number;
  let url: string;
  let password: string;
  const shells: Shell[] = [];

  const open = (name: 'bash' | 'sh', env?: Record<string, string>) => {
    const files = join(directory, `${name}-${shells.length}`);
    mkdirSync(files);
    const shell = new Shell(name, files, env);
    shells.push(shell);
    return { shell, files };
  };

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'orderloom-readme-'));
    port = await freePort();
    url = `http://127.0.0.1:${port}`;
    app = new AppProcess({ DATA_DIR: join(directory, 'data'), PORT: String(port) });
    await app.ready(url, 60_000);
    password = (await app.says(/[Pp]assword:? (\S+)/))[1]!;
  });
  afterAll(async () => {
    await Promise.all(shells.map((shell) => shell.end()));
    await app.end();
    rmSync(directory, { recursive: true, force: true, maxRetries: 5 });
  });

  it('runs the built application as npm start does', () => {
    const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    expect(scripts.start).toMatch(/exec node .*--enable-source-maps dist\/src\/main\.js$/);
  });

  it('works after the first start, and a second time in the same terminal', async () => {
    const { shell, files } = open('bash');
    await takeTour(shell, { port, password, directory: files, again: false });
    await takeTour(shell, { port, password, directory: files, again: true });
  });

  it('works in sh, in a terminal with variables from earlier work', async () => {
    const old = 'from earlier work';
    const { shell, files } = open('sh', { API: old, TOKEN: old, BODY: old, ORDER: old, SHIPMENT: old, PASSWORD: old });
    await takeTour(shell, { port, password, directory: files, again: true });
  });

  it('shows metrics that the application serves', async () => {
    const { samples } = await scrape(url);
    const series = blocksOf('metrics').flatMap(({ text }) => text.split('\n').map((line) => line.replace(/ \S+$/, '')));
    expect(series.filter((each) => !samples.has(each))).toEqual([]);
    expect(series.length).toBeGreaterThan(0);
  });

  it('names metrics and labels that exist, in its alerts too', async () => {
    const { families, samples } = await scrape(url);
    const alerts = blocksOf('promql').flatMap(({ text }) => text.split('\n'));
    const named = [...alerts, ...inlineCode].flatMap((code) => code.match(/\borderloom_[a-z_]+/g) ?? []);
    expect(named.filter((name) => !families.has(name))).toEqual([]);
    for (const alert of alerts) {
      const [, label, name] = /^max by \((\w+)\) \((\w+)\) > \d+$/.exec(alert) ?? [];
      expect([...samples.keys()].filter((each) => each.startsWith(`${name}{${label}="`))).not.toEqual([]);
    }
  });

  it('names operations that the API has', async () => {
    const { paths } = (await (await fetch(`${url}/openapi.json`)).json()) as { paths: Record<string, object> };
    const served = Object.entries(paths).flatMap(([path, methods]) =>
      Object.keys(methods).map((method) => ({
        operation: `${method.toUpperCase()} ${path}`,
        pattern: new RegExp(`^${method.toUpperCase()} ${path.replace(/\{\w+\}/g, '[^/]+')}$`),
      })),
    );
    const named = inlineCode.filter((code) => /^(GET|POST|PUT|PATCH|DELETE) \//.test(code));
    const unknown = named.filter((code) => !served.some(({ pattern }) => pattern.test(code)));
    expect(unknown).toEqual([]);
    expect(named.length).toBeGreaterThan(5);
  });
});
