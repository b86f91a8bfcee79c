import { once } from 'node:events';
import { createServer } from 'node:net';
import type { Config } from './config/config';
import type { Lines } from './lines';
import { type DatabaseInUse, obstacleOf } from './obstacles';
import { Shutdown } from './shutdown';

/** A process from its start to its end: a signal ends it in order, and what goes wrong is said in one sentence. */
export class Lifetime {
  readonly shutdown: Shutdown;
  /** Named in the explanation of an error. */
  database: DatabaseInUse | undefined;
  private readonly starting = new AbortController();

  constructor(
    readonly config: Config,
    readonly lines: Lines,
    { limitSeconds = config.SHUTDOWN_TIMEOUT, delaySeconds = config.SHUTDOWN_DELAY } = {},
  ) {
    this.shutdown = new Shutdown(limitSeconds, delaySeconds);
  }

  /** Aborted when the process is told to end while it starts. */
  get interrupted(): AbortSignal {
    return this.starting.signal;
  }

  readonly note = (msg: string): void => this.lines.say(msg);

  async run(start: () => Promise<void>): Promise<void> {
    const onSignal = (signal: NodeJS.Signals) => {
      // a terminal and npm each deliver Ctrl-C
      if (!this.shutdown.begun) this.note(`${signal}: finishing what is in flight`);
      this.end(0);
    };
    process.on('SIGTERM', onSignal);
    process.on('SIGINT', onSignal);
    try {
      await start();
    } catch (error) {
      // what was interrupted by a signal is no failure: the signal's handler ends the process
      if (this.shutdown.begun) return;
      await this.shutdown.begin().catch(() => undefined);
      fail(error, this.lines, this.config, this.database);
    }
  }

  /** Closes everything, and exits. */
  end(code: number): void {
    this.starting.abort();
    this.shutdown.begin().then(
      () => {
        if (code !== 0) process.exitCode = code;
        // else as a step has set it
        process.exit();
      },
      (error: unknown) => fail(error, this.lines, this.config),
    );
  }
}

export function fail(error: unknown, lines: Lines, config?: Config, database?: DatabaseInUse): never {
  const sentence = obstacleOf(error, config, database);
  if (sentence === undefined) lines.report(error);
  else lines.say(sentence, 'error');
  process.exit(1);
}

/** @throws Error with the code EADDRINUSE or EACCES */
export async function assertPortIsFree({ PORT, HOST }: Config): Promise<void> {
  const probe = createServer();
  probe.listen(PORT, HOST);
  await once(probe, 'listening');
  probe.close();
  await once(probe, 'close');
}
