import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { AppProcess, freePort } from '../process/app-process';
import { Line } from '../process/line';
import { Server } from './server';

export const admin = { email: 'admin@example.com', password: 'a password for fault runs' };

export interface SiteOptions {
  readonly replicas: number;
  /** The app reaches its server through {@link Site.line}. */
  readonly line?: boolean;
  /** The data are on a small disk of their own. */
  readonly disk?: boolean;
  /** By how much SIGUSR2 moves the clock of each process, in ms. */
  readonly clockStepMs?: number;
}

/** One or several processes of the built app over a Postgres of their own, any part of which may be broken. */
export class Site {
  private readonly directory = mkdtempSync(join(tmpdir(), 'orderloom-faults-app-'));
  readonly apps: AppProcess[] = [];
  readonly urls: string[] = [];
  private proxy: Line | undefined;

  private constructor(readonly server: Server) {
    chmodSync(this.directory, 0o755);
  }

  static async open(options: SiteOptions): Promise<Site> {
    const site = new Site(await Server.start(options));
    try {
      await site.launch(options);
    } catch (error) {
      await site.close(false);
      throw error;
    }
    return site;
  }

  get line(): Line {
    return this.proxy!;
  }

  /** All that the processes have written, one after the other. */
  get output(): string {
    return this.apps.map((app, nth) => app.output.replace(/^/gm, `${nth + 1}: `)).join('\n');
  }

  /** As a deployment ends it. @returns how, of those that did not end in order */
  async shutDown(): Promise<string[]> {
    const exits = await Promise.all(this.apps.map((app) => app.end()));
    return exits.filter(({ code }) => code !== 0).map(({ code, signal }) => `exit ${code ?? signal}`);
  }

  async close(keep: boolean): Promise<void> {
    // the app first, through a line that works: its shutdown needs the database
    await this.shutDown();
    await this.proxy?.hangUp();
    await this.server.close(keep);
    rmSync(this.directory, { recursive: true, force: true });
  }

  private async launch({ replicas, line, clockStepMs }: SiteOptions): Promise<void> {
    const urls = [new URL(this.server.appUrl), new URL(this.server.ownerUrl)] as const;
    if (line) {
      const port = await freePort();
      this.proxy = new Line(port, { host: urls[0].hostname, port: Number(urls[0].port) });
      await this.proxy.open();
      for (const url of urls) url.port = String(port);
    }
    for (let nth = 0; nth < replicas; nth++) {
      const port = await freePort();
      const app = new AppProcess({
        DATABASE_URL: urls[0].href,
        DATABASE_OWNER_URL: urls[1].href,
        DATA_DIR: this.directory,
        PORT: String(port),
        ADMIN_EMAIL: admin.email,
        ADMIN_PASSWORD: admin.password,
        DEMO_DATA: 'true',
        JWT_SECRET: '2f7a1c0d94be53e6887fd1290c3ba64e',
        // longer than any clock is moved
        ACCESS_TOKEN_SECONDS: '86400',
        LOG_LEVEL: 'warn',
        NODE_ENV: 'test',
        ...(clockStepMs && {
          CLOCK_STEP_MS: String(clockStepMs),
          NODE_OPTIONS: `--require ${join(__dirname, 'clock.js')}`,
        }),
      });
      this.apps.push(app);
      this.urls.push(`http://127.0.0.1:${port}`);
      await app.ready(this.urls.at(-1)!, 60_000);
    }
  }
}
