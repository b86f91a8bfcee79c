import { Agent, get } from 'node:http';

/** How often a replica is asked whether it is ready, and how long its answer may take, in ms. */
const checkMs = 250;
const patienceMs = 2000;

/** Longer than any pause between requests under load, and shorter than a replica keeps an idle connection, in ms. */
const idleMs = 30_000;

/** Replicas listen on this address only: everybody else comes through the balancer. */
export const loopback = '127.0.0.1';

/** A replica as the balancer sees it: a port that answers, and whether requests may go there. */
export class Backend {
  readonly agent = new Agent({ keepAlive: true, timeout: idleMs });
  inFlight = 0;
  private ready = false;
  private closed = false;
  private timer: NodeJS.Timeout | undefined;

  /** @param onChange told when it becomes ready, or is not ready any more */
  constructor(
    readonly port: number,
    private readonly onChange: (isReady: boolean) => void = () => undefined,
  ) {
    this.check();
  }

  get isReady(): boolean {
    return this.ready;
  }

  /** It cannot be reached: no request goes there before the next check. */
  lost(): void {
    this.become(false);
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    this.become(false);
    this.agent.destroy();
  }

  private check(): void {
    const { port, agent } = this;
    const signal = AbortSignal.timeout(patienceMs);
    get({ host: loopback, port, path: '/health/ready', agent, signal }, (response) => {
      this.checked(response.statusCode === 200);
      // a connection is free for the next request once the answer has been read
      response.on('error', () => undefined).resume();
    }).on('error', () => this.checked(false));
  }

  private checked(isReady: boolean): void {
    clearTimeout(this.timer);
    if (this.closed) return;
    this.become(isReady);
    this.timer = setTimeout(() => this.check(), checkMs);
  }

  private become(isReady: boolean): void {
    if (this.ready === isReady) return;
    this.ready = isReady;
    this.onChange(isReady);
  }
}
