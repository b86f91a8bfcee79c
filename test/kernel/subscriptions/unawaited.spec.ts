import type { StoredEvent } from '../../../src/kernel/event-store/event';
import { type Projection, ProjectionOf } from '../../../src/kernel/subscriptions/projection';
import { createDatabase, type TestDatabase } from '../../support/database';
import { aThing, gate, happened, type Kernel, openGates, startKernel } from '../support';

let opened: Promise<void>;

@ProjectionOf('test.unawaited', { awaited: false })
class Unawaited implements Projection {
  readonly eventTypes = ['thing.happened'];
  readonly table = 'test_view.unawaited';
  readonly batches: number[][] = [];

  async project(events: readonly StoredEvent[]): Promise<void> {
    await opened;
    this.batches.push(events.map(({ payload }) => payload['n'] as number));
  }
}

describe('a projection that nobody awaits', () => {
  let db: TestDatabase;
  let kernel: Kernel;

  beforeAll(async () => {
    db = await createDatabase();
    opened = Promise.resolve();
    kernel = await startKernel(db.url, [Unawaited]);
  });
  afterAll(async () => {
    openGates();
    await kernel.close();
    await db.drop();
  });

  it('keeps no request waiting', async () => {
    const held = gate();
    opened = held.opened;
    const { position } = await kernel.store.append(aThing(), [happened(0)]);
    expect(await kernel.subscriptions.projected(position, 5000)).toBe(true);
    expect(kernel.get(Unawaited).batches).toEqual([]);
    held.open();
    await kernel.subscriptions.idle();
    expect(kernel.get(Unawaited).batches).toEqual([[0]]);
  });

  it('takes what happens in quick succession in few batches, each event once and in order', async () => {
    const numbers = Array.from({ length: 50 }, (_, n) => n + 1);
    for (const n of numbers) await kernel.store.append(aThing(), [happened(n)]);
    await kernel.subscriptions.idle();
    const { batches } = kernel.get(Unawaited);
    expect(batches.flat()).toEqual([0, ...numbers]);
    expect(batches.length).toBeLessThan(25);
  });
});
