import { Logger } from '@nestjs/common';
import type { EventStore } from '../event-store/event-store';
import type { StoredEvent } from '../event-store/event';

const kept = 8192;
const page = 1000;

/** How far the answers to two batches of this process can be apart, in ms. */
const answerMs = 2;
/** Pauses between polls, in ms: short while events come from other processes, long while nothing does. */
const poll = { min: 20, max: 500 };

/** A piece of the log, of which only some types were asked for. */
export interface LogPage {
  readonly events: readonly StoredEvent[];
  /** Position up to which the log was looked at; where the page began when there was nothing behind it. */
  readonly last: number;
}

/**
 * The newest part of the log in memory, one for all subscriptions of this process.
 *
 * Fed by this process's own commits as they are answered, and by polling for those of other processes. Only an
 * unbroken run is ever shown: what arrives ahead of its predecessors waits for them.
 */
export class LogTail {
  private readonly logger = new Logger('LogTail');
  private readonly ahead = new Map<number, StoredEvent>();
  private readonly sleepers = new Set<() => void>();
  private readonly listeners = new Set<(event: StoredEvent) => void>();
  private buffer: StoredEvent[] = [];
  private position = 0;
  private pause: number = poll.min;
  private timer: NodeJS.Timeout | undefined;
  /** When the next look is due, in ms of `performance.now()`. */
  private dueAt = Infinity;
  private polling: Promise<void> | undefined;
  private stopped = false;
  /** When this process last knew the whole log, in ms of `performance.now()`. */
  private completeAt = -Infinity;

  constructor(
    private readonly store: EventStore,
    /** This process committed something. */
    private readonly onCommitted: () => void = () => undefined,
  ) {}

  /** Position up to which this process knows the log. */
  get head(): number {
    return this.position;
  }

  /** How long ago this process last knew the whole log, in ms. */
  get behindMs(): number {
    return performance.now() - this.completeAt;
  }

  async start(): Promise<void> {
    const began = performance.now();
    this.position = await this.store.head();
    this.completeAt = began;
    this.store.onCommitted((events) => {
      this.accept(events);
      this.onCommitted();
    });
    this.schedule(poll.min);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    clearTimeout(this.timer);
    this.wake();
    await this.polling;
  }

  /** Of the next `limit` events behind `after`, those of these types; from memory when it reaches back that far. */
  async read(types: ReadonlySet<string>, after: number, limit: number): Promise<LogPage> {
    const last = Math.min(after + limit, this.position);
    if (after >= last) return { events: [], last: after };
    const first = this.buffer[0]?.position;
    const events =
      first !== undefined && after + 1 >= first
        ? this.buffer.slice(after + 1 - first, last + 1 - first).filter((event) => types.has(event.eventType))
        : await this.store.readTypes([...types], after, last);
    return { events, last };
  }

  /** Resolves when there is something behind `after`, or the signal says to stop waiting. */
  async wait(after: number, signal: AbortSignal): Promise<void> {
    while (this.position <= after && !signal.aborted && !this.stopped) {
      await new Promise<void>((resolve) => {
        const done = () => {
          this.sleepers.delete(done);
          signal.removeEventListener('abort', done);
          resolve();
        };
        this.sleepers.add(done);
        signal.addEventListener('abort', done);
      });
    }
  }

  /** Hears every event from now on, once and in order, for as long as this process lives. Must not throw. */
  listen(listener: (event: StoredEvent) => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  /** Looks now: somebody else committed something. */
  poke(): void {
    this.pause = poll.min;
    this.schedule(0);
  }

  private accept(events: readonly StoredEvent[]): void {
    const before = this.position;
    for (const event of events) {
      if (event.position > this.position) this.ahead.set(event.position, event);
    }
    for (let next = this.ahead.get(this.position + 1); next; next = this.ahead.get(this.position + 1)) {
      this.ahead.delete(next.position);
      this.buffer.push(next);
      this.position = next.position;
      for (const listener of this.listeners) listener(next);
    }
    if (this.buffer.length > 2 * kept) this.buffer = this.buffer.slice(-kept);
    if (this.position > before) this.wake();
    // something is missing in between: its answer is still on the way, or another process wrote it
    if (this.ahead.size > 0) this.schedule(answerMs);
  }

  private wake(): void {
    for (const sleeper of [...this.sleepers]) sleeper();
  }

  /** Sooner than it was to be, but never later: under load there is always another reason to look in a moment. */
  private schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (this.stopped || this.polling || dueAt >= this.dueAt) return;
    clearTimeout(this.timer);
    this.dueAt = dueAt;
    this.timer = setTimeout(() => {
      this.dueAt = Infinity;
      this.polling = this.poll().finally(() => {
        this.polling = undefined;
        this.schedule(this.ahead.size > 0 ? answerMs : this.pause);
      });
    }, ms);
  }

  private async poll(): Promise<void> {
    try {
      const began = performance.now();
      const events = await this.store.readLog(this.position, page);
      const news = events.some((event) => event.position > this.position);
      this.accept(events);
      if (events.length < page) this.completeAt = began;
      for (const position of this.ahead.keys()) if (position <= this.position) this.ahead.delete(position);
      this.pause = news ? poll.min : Math.min(this.pause * 2, poll.max);
    } catch (error) {
      this.pause = poll.max;
      if (!this.stopped) this.logger.warn(`Cannot read the log, trying again: ${(error as Error).message}`);
    }
  }
}
