import { Logger } from '@nestjs/common';
import type { EventStore, LogPosition } from '../event-store/event-store';
import type { StoredEvent } from '../event-store/event';
import { messageOf } from '../fault';
import { RepeatedWarning } from '../repeated-warning';

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
  /** Of the event at `last`, for a page that is not empty. */
  readonly lastId?: string;
}

/** Events that this process has seen in the log, and that are not there any more. */
export interface LostEvents {
  readonly from: number;
  readonly to: number;
}

/**
 * The newest part of the log in memory, one for all subscriptions of this process.
 *
 * Fed by this process's own commits as they are answered, and by polling for those of other processes. Only an
 * unbroken run is ever shown: what arrives ahead of its predecessors waits for them.
 *
 * The log itself may go back: after a failover to a replica that lagged behind, or when a backup is restored. So every
 * poll begins at the newest event known, and every own commit is compared with what stands at its position.
 */
export class LogTail {
  private readonly logger = new Logger('LogTail');
  private readonly trouble = new RepeatedWarning(this.logger, 'Cannot read the log, trying again');
  private readonly ahead = new Map<number, StoredEvent>();
  private readonly sleepers = new Set<() => void>();
  private readonly listeners = new Set<(event: StoredEvent) => void>();
  private buffer: StoredEvent[] = [];
  /** The newest event of the unbroken run. */
  private newest: LogPosition | undefined;
  private hasChanged = false;
  private pause: number = poll.min;
  private timer: NodeJS.Timeout | undefined;
  /** When the next look is due, in ms of `performance.now()`. */
  private dueAt = Infinity;
  private polling: Promise<void> | undefined;
  /** A notification may come before this process knows where it begins. */
  private started = false;
  private stopped = false;
  /** When this process last knew the whole log, in ms of `performance.now()`. */
  private completeAt = -Infinity;

  constructor(
    private readonly store: EventStore,
    /** This process committed something. */
    private readonly onCommitted: () => void = () => undefined,
    /**
     * The log does not have these events any more. Called until it succeeds; nothing is read before.
     */
    private readonly onLost: (lost: LostEvents) => Promise<void> = () => Promise.resolve(),
  ) {}

  /** Position up to which this process knows the log. */
  get head(): number {
    return this.newest?.position ?? 0;
  }

  /** How long ago this process last knew the whole log, in ms. */
  get behindMs(): number {
    return performance.now() - this.completeAt;
  }

  async start(): Promise<void> {
    const began = performance.now();
    this.newest = await this.store.newest();
    this.completeAt = began;
    this.started = true;
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
    const last = Math.min(after + limit, this.head);
    if (after >= last || this.hasChanged) return { events: [], last: after };
    const first = this.buffer[0]?.position;
    if (first === undefined || after + 1 < first) {
      const { events, lastId } = await this.store.readTypes([...types], after, last);
      if (lastId !== undefined) return { events, last, lastId };
      this.hasChanged = true;
      this.poke();
      return { events: [], last: after };
    }
    const events = this.buffer.slice(after + 1 - first, last + 1 - first);
    return { events: events.filter((event) => types.has(event.eventType)), last, lastId: events.at(-1)!.id };
  }

  /** True when there is something behind `after` to be read. */
  hasNews(after: number): boolean {
    return this.head > after && !this.hasChanged;
  }

  /** Resolves when there is something behind `after`, or the signal says to stop waiting. */
  async wait(after: number, signal: AbortSignal): Promise<void> {
    while (!this.hasNews(after) && !signal.aborted && !this.stopped) {
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

  /** Hears every event from now on, in order, for as long as this process lives; once, unless the log was changed. */
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
    const before = this.head;
    for (const event of events) {
      if (event.position > before) this.ahead.set(event.position, event);
      else if (!this.hasSeen(event)) this.hasChanged = true;
    }
    if (this.hasChanged) return this.poke();
    for (let next = this.ahead.get(before + 1); next; next = this.ahead.get(next.position + 1)) {
      this.ahead.delete(next.position);
      this.buffer.push(next);
      this.newest = next;
      this.tell(next);
    }
    if (this.buffer.length > 2 * kept) this.buffer = this.buffer.slice(-kept);
    if (this.head > before) this.wake();
    // something is missing in between: its answer is still on the way, or another process wrote it
    if (this.ahead.size > 0) this.schedule(answerMs);
  }

  /** What stands at its position in memory, if that reaches back so far, is this event. */
  private hasSeen({ position, id }: StoredEvent): boolean {
    const known = position === this.head ? this.newest : this.buffer[position - (this.buffer[0]?.position ?? 0)];
    return known === undefined || known.position !== position || known.id === id;
  }

  /** One listener's failure is not that of the others, nor of whoever committed the event. */
  private tell(event: StoredEvent): void {
    for (const listener of this.listeners) {
      try {
        listener(event);
      } catch (error) {
        this.logger.error(`A listener failed at event ${event.position} (${event.eventType}): ${messageOf(error)}`);
      }
    }
  }

  private wake(): void {
    for (const sleeper of [...this.sleepers]) sleeper();
  }

  /** Sooner than it was to be, but never later: under load there is always another reason to look in a moment. */
  private schedule(ms: number): void {
    const dueAt = performance.now() + ms;
    if (!this.started || this.stopped || this.polling || dueAt >= this.dueAt) return;
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
      const { newest } = this;
      // with the newest one known, which must still be there
      const events = await this.store.readLog(newest ? newest.position - 1 : 0, page + 1, true);
      if (newest && events[0]?.id !== newest.id) this.hasChanged = true;
      if (this.hasChanged) await this.startOver();
      else {
        const news = events.some((event) => event.position > this.head);
        this.accept(events);
        if (events.length <= page && !this.hasChanged) this.completeAt = began;
        for (const position of this.ahead.keys()) if (position <= this.head) this.ahead.delete(position);
        this.pause = news ? poll.min : Math.min(this.pause * 2, poll.max);
      }
      this.trouble.over();
    } catch (error) {
      this.pause = poll.max;
      if (!this.stopped) this.trouble.warn(error);
    }
  }

  /** Forgets everything behind the last event that both the memory and the log have. */
  private async startOver(): Promise<void> {
    const common = await this.lastInCommon();
    const lost = { from: (common?.position ?? 0) + 1, to: this.head };
    await this.onLost(lost);
    this.buffer = [];
    this.ahead.clear();
    this.newest = common;
    this.hasChanged = false;
    this.pause = poll.min;
    this.wake();
  }

  private async lastInCommon(): Promise<LogPosition | undefined> {
    const first = this.buffer[0]?.position ?? this.head;
    const stored = await this.store.idsBetween(first, this.head);
    const known = new Map(this.buffer.map(({ position, id }) => [position, id]));
    if (this.newest) known.set(this.newest.position, this.newest.id);
    const common = stored.findLast(({ position, id }) => known.get(position) === id);
    if (common) return common;
    // More is gone than the memory holds: whatever there is now counts as new.
    const [before] = await this.store.idsBetween(Math.max(1, first - 1), first - 1);
    return before;
  }
}
