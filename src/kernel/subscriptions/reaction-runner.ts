import { ExecutionContext, runInContext } from '../context';
import type { StoredEvent } from '../event-store/event';
import type { LogPosition } from '../event-store/event-store';
import { faultOf, messageOf } from '../fault';
import { deriveId } from '../ids';
import { RepeatedWarning } from '../repeated-warning';
import { within } from '../time-limit';
import { idsIn, SpanKind, traced } from '../tracing/tracing';
import type { OpenLetter } from './dead-letter-box';
import { Fenced, assertLease, moveCheckpoint } from './fencing';
import type { Lease } from './leases';
import type { Handler, ReactionMetadata } from './reaction';
import { Runner, type RunnerDependencies, type Share } from './runner';

/** Events in hand at once: enough that their appends share commits. */
const windowSize = 128;
const page = 500;
const saveEveryMs = 100;

/**
 * Feeds one reaction from the log. Partitions run side by side, each in order; the checkpoint stands before the oldest
 * event that is still in hand, so a crash repeats some events and never skips one.
 */
export class ReactionRunner extends Runner {
  readonly kind = 'reaction';
  readonly version: number;
  protected readonly types: ReadonlySet<string>;
  /** What is behind it in the log no worker before this one has had in hand. */
  private headAtClaim = 0;
  /** The newest event that this worker has read up to. */
  private seen: LogPosition | undefined;

  constructor(
    private readonly metadata: ReactionMetadata,
    private readonly handler: Handler,
    share: Share,
    deps: RunnerDependencies,
  ) {
    super(metadata.name, share, deps);
    this.version = metadata.version;
    this.types = new Set(metadata.events.keys());
  }

  protected async run(lease: Lease, abort: AbortController): Promise<void> {
    const { signal } = abort;
    // ascending, since events enter in log order
    const inHand = new Set<number>();
    const chains = new Map<string, Promise<void>>();
    let read = lease.position;
    this.headAtClaim = this.deps.tail.head;
    this.seen = undefined;
    let failure: { readonly error: unknown } | undefined;
    let wake = () => {};
    signal.addEventListener('abort', () => wake(), { once: true });
    const fail = (error: unknown) => {
      failure ??= { error };
      abort.abort();
    };
    const saver = this.saver(lease, fail);

    const enqueue = (partition: string, task: () => Promise<void>): void => {
      const chain: Promise<void> = (chains.get(partition) ?? Promise.resolve())
        .then(() => (signal.aborted ? undefined : task()))
        .catch(fail)
        .finally(() => {
          if (chains.get(partition) === chain) chains.delete(partition);
          wake();
        });
      chains.set(partition, chain);
    };
    const settle = () => {
      const [oldest] = inHand;
      this.advance(oldest === undefined ? read : oldest - 1);
      saver.touch();
    };
    // in the partition's own chain, so that what happens meanwhile stays behind it
    const polling = this.pollReplays((partition) => enqueue(partition, () => this.replay(lease, partition)), signal);

    while (!signal.aborted) {
      const { events, last, lastId } = await this.read(read, page, signal);
      if (lastId !== undefined) this.seen = { position: last, id: lastId };
      if (last === read) {
        const news = this.deps.tail.wait(read, signal);
        // also woken by whatever ends: not to wait for news a second time beside the first
        do await Promise.race([news, new Promise<void>((resolve) => (wake = resolve))]);
        while (!this.deps.tail.hasNews(read) && !signal.aborted);
        continue;
      }
      for (const event of events) {
        while (inHand.size >= windowSize && !signal.aborted) {
          await new Promise<void>((resolve) => (wake = resolve));
        }
        if (signal.aborted) break;
        read = event.position;
        if (!this.isMine(event)) continue;
        inHand.add(event.position);
        const partition = this.partition(event);
        enqueue(partition, async () => {
          if (!(await this.handle(lease, event, partition, signal))) return;
          inHand.delete(event.position);
          this.tally(1);
          settle();
        });
      }
      if (!signal.aborted) read = last;
      settle();
    }
    await Promise.all([...chains.values(), polling]);
    await saver.stop();
    if (failure) throw failure.error;
  }

  protected async redeliver(lease: Lease, event: StoredEvent, letter: OpenLetter): Promise<void> {
    await this.deliver(event, 1);
    await this.deps.database.relaxedTransaction(async (client) => {
      await assertLease(client, lease);
      await this.letters.replayed(client, letter);
    });
  }

  protected partitionOf(event: StoredEvent): string {
    const { partitionBy } = this.metadata;
    const value = partitionBy === undefined ? undefined : event.payload[partitionBy];
    return typeof value === 'string' ? value : event.aggregateId;
  }

  /** @returns true when the event is done with: handled, or kept as a dead letter */
  private async handle(lease: Lease, event: StoredEvent, partition: string, signal: AbortSignal): Promise<boolean> {
    for (let attempt = 1, tries = 1; !signal.aborted; tries++) {
      try {
        if (this.letters.parked.has(partition)) await this.bury(lease, event, partition);
        else await this.deliver(event, tries);
        this.waits.end([event]);
        return true;
      } catch (error) {
        if (error instanceof Fenced) throw error;
        const isGivenUp = this.isGivenUp(event, error, attempt);
        try {
          if (isGivenUp) {
            await this.bury(lease, event, partition, { error, attempts: tries });
            this.waits.end([event]);
            return true;
          }
        } catch (notBuried) {
          if (notBuried instanceof Fenced) throw notBuried;
        }
        await this.backOff(tries, error, signal);
        const fault = faultOf(error);
        if (fault !== 'infrastructure' && fault !== 'patience') attempt++;
      }
    }
    return false;
  }

  /** Reports the failure. @returns true when the event becomes a dead letter */
  private isGivenUp(event: StoredEvent, error: unknown, attempt: number): boolean {
    const { attempts, patienceMs } = this.deps.retry;
    const fault = faultOf(error);
    if (fault === 'infrastructure' || fault === 'patience') {
      const waitedMs = this.waits.add([event], fault, error);
      return fault === 'patience' && waitedMs >= patienceMs;
    }
    this.waits.end([event]);
    const { eventType, position, metadata } = event;
    this.logger.warn(
      `${eventType} at ${position} failed (try ${attempt}), trace ${metadata.correlationId}: ${messageOf(error)}`,
    );
    return fault === 'permanent' || attempt >= attempts;
  }

  private async deliver(event: StoredEvent, attempt: number): Promise<void> {
    const eventClass = this.metadata.events.get(event.eventType)!;
    const message = Object.assign(Object.create(eventClass.prototype as object) as object, event.payload);
    const context = new ExecutionContext(
      `system:${this.name}`,
      deriveId(event.id, this.name),
      event.metadata.correlationId,
      event.id,
      event.position <= this.headAtClaim,
    );
    context.traceparent = event.metadata.traceparent;
    const what = `${this.name} with ${event.eventType} at ${event.position}`;
    const describe = () => ({
      kind: SpanKind.CONSUMER,
      isEntry: true,
      attributes: {
        'orderloom.subscription': this.name,
        'orderloom.attempt': attempt,
        'orderloom.event.type': event.eventType,
        'orderloom.event.id': event.id,
        'orderloom.event.position': event.position,
        'orderloom.aggregate.type': event.aggregateType,
        'orderloom.aggregate.id': event.aggregateId,
        ...idsIn(event.payload),
      },
    });
    await runInContext(context, () =>
      traced(`deliver ${event.eventType} to ${this.name}`, describe, () =>
        within(this.deps.retry.deliveryMs, what, async () => this.handler.handle(message)),
      ),
    );
  }

  private async bury(
    lease: Lease,
    event: StoredEvent,
    partition: string,
    failure?: { error: unknown; attempts: number },
  ): Promise<void> {
    await this.deps.database.relaxedTransaction(async (client) => {
      await assertLease(client, lease);
      // The checkpoint is written later, and must not come to stand behind a letter that a crash of the server took.
      await client.query('set local synchronous_commit to on');
      await this.letters.put(client, event, partition, failure);
    });
    this.letters.parked.add(partition);
    if (failure) {
      this.logger.error(`Event ${event.position} (${event.eventType}) is a dead letter; ${partition} is parked`);
    }
  }

  /** Writes the checkpoint a moment after it moved: many events share one write, and a crash repeats a few. */
  private saver(lease: Lease, fail: (error: unknown) => void) {
    const trouble = new RepeatedWarning(this.logger, 'Cannot write the checkpoint, trying again');
    let saved = lease.position;
    let timer: NodeJS.Timeout | undefined;
    let writing: Promise<void> = Promise.resolve();
    let stopped = false;
    const save = async () => {
      timer = undefined;
      const position = this.position;
      if (position === saved) return;
      try {
        const beliefs = { from: saved, seen: this.seen };
        await this.deps.database.relaxedTransaction((client) => moveCheckpoint(client, lease, position, beliefs));
        saved = position;
        trouble.over();
      } catch (error) {
        if (error instanceof Fenced) fail(error);
        else {
          trouble.warn(error);
          touch();
        }
      }
    };
    // One write at a time: of two at once, the later position could be written first and then be overwritten.
    const touch = () => {
      if (stopped) return;
      timer ??= setTimeout(() => {
        writing = writing.then(save);
      }, saveEveryMs);
    };
    return {
      touch,
      stop: async () => {
        stopped = true;
        clearTimeout(timer);
        await writing;
        await save();
      },
    };
  }
}
