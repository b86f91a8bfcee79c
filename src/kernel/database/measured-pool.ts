import { Pool, type PoolClient } from 'pg';

type Connected = (error: Error | undefined, client: PoolClient | undefined, done: (release?: unknown) => void) => void;

/** A pool that knows how long its callers wait for a connection. */
export class MeasuredPool extends Pool {
  private lastWaitMs = 0;

  /** What the last caller waited, in ms, whether it got a connection or not; 0 while nobody waits. */
  get waitMs(): number {
    return this.waitingCount === 0 ? 0 : this.lastWaitMs;
  }

  override connect(): Promise<PoolClient>;
  override connect(callback: Connected): void;
  override connect(callback?: Connected): Promise<PoolClient> | void {
    const asked = performance.now();
    const waited = () => (this.lastWaitMs = performance.now() - asked);
    if (callback) {
      return super.connect((...answer) => {
        waited();
        callback(...answer);
      });
    }
    return super.connect().finally(waited);
  }
}
