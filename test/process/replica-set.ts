import { chmodSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { AppProcess, embeddedUrl, freePort, isAlive, isReady, postmasterPid } from './app-process';

const password = 'a password for this test';

/** What `npm run start:replicas` runs, on a data directory of its own. */
export class ReplicaSet {
  readonly directory = mkdtempSync(join(tmpdir(), 'orderloom-replicas-'));
  readonly dataDirectory = join(this.directory, 'data');
  supervisor!: AppProcess;
  private readonly supervisors: AppProcess[] = [];

  private constructor(
    readonly port: number,
    private readonly count: number,
  ) {
    chmodSync(this.directory, 0o755);
  }

  static async start(count: number, env: Record<string, string> = {}): Promise<ReplicaSet> {
    const set = new ReplicaSet(await freePort(), count);
    await set.startAgain(env);
    return set;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get databaseUrl(): string {
    return embeddedUrl(this.dataDirectory);
  }

  get postmaster(): number {
    return postmasterPid(this.dataDirectory)!;
  }

  async startAgain(env: Record<string, string> = {}): Promise<void> {
    const own = { DATA_DIR: this.dataDirectory, PORT: String(this.port), ADMIN_PASSWORD: password, LOG_LEVEL: 'warn' };
    this.supervisor = new AppProcess({ ...own, ...env }, [String(this.count)], undefined, 'replicas/start');
    this.supervisors.push(this.supervisor);
    await this.supervisor.says(/Orderloom listens on/, 90_000);
  }

  /** Process ids of those that are ready, by number, as they were said. */
  get replicas(): ReadonlyMap<number, number> {
    const said = this.supervisor.output.matchAll(/^Replica (\d+) is ready: process (\d+), port \d+$/gm);
    return new Map(Array.from(said, ([, number, pid]) => [Number(number), Number(pid)]));
  }

  /** @returns its process id */
  strike(number: number, signal: NodeJS.Signals): number {
    const pid = this.replicas.get(number)!;
    process.kill(pid, signal);
    return pid;
  }

  /** Resolves once another process is ready in its place. */
  async replaced(number: number, former: number): Promise<void> {
    await eventually(() => this.replicas.get(number) !== former, 60_000);
  }

  admin(): Promise<Api> {
    return Api.signIn(this.url, 'admin@orderloom.local', password);
  }

  isReady(): Promise<boolean> {
    return isReady(this.url);
  }

  async end(): Promise<void> {
    const left = [...this.replicas.values()];
    await Promise.all(this.supervisors.map((each) => each.end()));
    // they end by themselves, after a supervisor that was killed too
    await eventually(() => !left.some(isAlive), 30_000);
    const { postmaster } = this;
    if (postmaster !== undefined && isAlive(postmaster)) process.kill(postmaster, 'SIGINT');
    rmSync(this.directory, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }
}
