import { Logger } from '@nestjs/common';
import type { StoredEvent } from '../event-store/event';
import type { Database } from '../database/database';
import { messageOf } from '../fault';
import { type Leases, seenChannel, sessions } from './leases';
import type { LogTail } from './log-tail';

/** A process that last knew the whole log longer ago than this no longer relies on what its followers know, in ms. */
const staleMs = 1500;

/**
 * Caches in memory that are fed from the log. Every process acknowledges the events that they follow, so that a change
 * can be answered when no process still relies on what was true before: each has either seen the event, or has been
 * without news for so long that it asks the database instead. No process can hold up another for more than that time.
 */
export class Followers {
  private readonly logger = new Logger('Followers');
  /** Positions of followed events, and when this process saw them, for as long as a process may not know of them. */
  private readonly recent = new Map<number, number>();
  /** What the processes have acknowledged, by their sessions. */
  private readonly acknowledged = new Map<number, number>();
  private readonly waiting = new Set<() => void>();
  private readonly forgetters = new Set<() => void>();

  constructor(
    private readonly database: Database,
    private readonly tail: LogTail,
    private readonly leases: Leases,
  ) {}

  get areStale(): boolean {
    // without its session, the others do not know of this process and do not wait for it
    return this.leases.pid === 0 || this.tail.behindMs > staleMs;
  }

  follow(types: readonly string[], listener: (event: StoredEvent) => void, forget: () => void): () => void {
    const unlisten = this.tail.listen((event) => {
      if (!types.includes(event.eventType)) return;
      listener(event);
      this.remember(event.position);
      void this.acknowledge(event.position);
    });
    this.forgetters.add(forget);
    return () => {
      unlisten();
      this.forgetters.delete(forget);
    };
  }

  /** The log has another history than the one that they were told. */
  forget(): void {
    this.recent.clear();
    for (const forget of this.forgetters) forget();
  }

  /** A process has given its followers everything up to `position`. */
  seen(pid: number, position: number): void {
    this.acknowledged.set(pid, Math.max(this.acknowledged.get(pid) ?? 0, position));
    for (const resolve of [...this.waiting]) resolve();
  }

  /** Resolves when all processes know what the followed event at `position` changed; at once for any other event. */
  async informed(position: number): Promise<void> {
    const deadline = performance.now() + staleMs;
    // another process may run the views that were waited for before: this one may not have read so far
    if (this.tail.head < position) await this.tail.wait(position - 1, AbortSignal.timeout(staleMs));
    if (!this.recent.has(position)) return;
    const others = await this.others();
    for (const pid of this.acknowledged.keys()) if (!others.includes(pid)) this.acknowledged.delete(pid);
    while (others.some((pid) => (this.acknowledged.get(pid) ?? 0) < position)) {
      const left = deadline - performance.now();
      if (left <= 0) return;
      await this.nextAcknowledgement(left);
    }
  }

  private remember(position: number): void {
    const now = performance.now();
    for (const [older, at] of this.recent) if (now - at > staleMs) this.recent.delete(older);
    this.recent.set(position, now);
  }

  private async acknowledge(position: number): Promise<void> {
    try {
      const payload = `${this.leases.pid} ${position}`;
      await this.database.pool.query('select pg_notify($1, $2)', [seenChannel, payload]);
    } catch (error) {
      // who waits for it goes on when this process must be stale
      this.logger.debug(`Cannot acknowledge event ${position}: ${messageOf(error)}`);
    }
  }

  /** Sessions of the other processes on this database. */
  private async others(): Promise<number[]> {
    const { rows } = await this.database.pool.query<{ pid: number }>(`${sessions} and pid <> $1`, [this.leases.pid]);
    return rows.map(({ pid }) => pid);
  }

  private nextAcknowledgement(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.waiting.delete(done);
        resolve();
      };
      const timer = setTimeout(done, timeoutMs);
      this.waiting.add(done);
    });
  }
}
