import type { Logger } from '@nestjs/common';
import type { StoredEvent } from '../event-store/event';
import { type Fault, messageOf } from '../fault';

/** How often a subscription repeats that events wait, in ms. */
const warnEveryMs = 60_000;

/** Events of a subscription that wait for something other than themselves: the database, or a target that is not ready. */
export class Waiting {
  private readonly since = new Map<number, { readonly fault: Fault; readonly at: number }>();
  private warnedAt = -Infinity;

  constructor(private readonly logger: Logger) {}

  get count(): number {
    return this.since.size;
  }

  /** For how long the oldest event has waited for the database or this process, in ms; 0 when none does. */
  get infrastructureMs(): number {
    let oldest = Infinity;
    for (const { fault, at } of this.since.values()) if (fault === 'infrastructure') oldest = Math.min(oldest, at);
    return oldest === Infinity ? 0 : performance.now() - oldest;
  }

  /** Notes that these events could not be handled yet. @returns for how long the oldest has waited for this, in ms */
  add(events: readonly StoredEvent[], fault: Fault, error: unknown): number {
    const now = performance.now();
    let oldest = now;
    for (const { position } of events) {
      const before = this.since.get(position);
      const at = before?.fault === fault ? before.at : now;
      this.since.set(position, { fault, at });
      oldest = Math.min(oldest, at);
    }
    this.warn(now, error);
    return now - oldest;
  }

  /** These events wait no longer. */
  end(events: readonly StoredEvent[]): void {
    for (const { position } of events) this.since.delete(position);
  }

  clear(): void {
    this.since.clear();
  }

  /** When the first event begins to wait, and then at most once a minute, however many there are. */
  private warn(now: number, error: unknown): void {
    if (this.count === 0 || now < this.warnedAt + warnEveryMs) return;
    this.warnedAt = now;
    const oldest = Math.min(...[...this.since.values()].map(({ at }) => at));
    const events = this.count === 1 ? '1 event is' : `${this.count} events are`;
    const seconds = Math.round((now - oldest) / 1000);
    this.logger.warn(`${events} waiting, the oldest for ${seconds} s: ${messageOf(error)}`);
  }
}
