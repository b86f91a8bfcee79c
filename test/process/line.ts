import { connect, createServer, type Server, type Socket } from 'node:net';

/**
 * A TCP proxy between the app and Postgres. It can fall silent, as a network does, hang up, as a server that stops, or
 * reset every connection, as a load balancer does that has lost its target.
 */
export class Line {
  private readonly ends = new Map<Socket, Socket>();
  private server: Server | undefined;
  private silent = false;
  private resetting = false;

  constructor(
    private readonly port: number,
    private readonly to: { host: string; port: number },
  ) {}

  open(): Promise<void> {
    const server = (this.server = createServer((near) => {
      near.on('error', () => undefined);
      if (this.resetting) return void near.resetAndDestroy();
      const far = connect(this.to);
      this.ends.set(near, far);
      for (const [end, other] of [
        [near, far],
        [far, near],
      ] as const) {
        end.on('error', () => undefined);
        end.on('close', () => {
          this.ends.delete(near);
          other.destroy();
        });
        if (!this.silent) end.pipe(other);
      }
    }));
    return new Promise((resolve) => server.listen(this.port, '127.0.0.1', resolve));
  }

  /** Connections stay open and are accepted, and nothing arrives any more. */
  silence(): void {
    this.silent = true;
    for (const [near, far] of this.ends) {
      near.unpipe(far);
      far.unpipe(near);
    }
  }

  speak(): void {
    this.silent = false;
    for (const [near, far] of this.ends) {
      near.pipe(far);
      far.pipe(near);
    }
  }

  /** Resets every connection, and every new one until {@link stopResetting}. */
  reset(): void {
    this.resetting = true;
    for (const [near, far] of this.ends) {
      near.resetAndDestroy();
      far.destroy();
    }
  }

  stopResetting(): void {
    this.resetting = false;
  }

  async hangUp(): Promise<void> {
    const closed = new Promise((resolve) => this.server?.close(resolve));
    for (const [near, far] of this.ends) {
      near.destroy();
      far.destroy();
    }
    await closed;
  }
}
