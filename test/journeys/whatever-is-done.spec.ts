import fc from 'fast-check';
import { Subscriptions } from '../../src/kernel/subscriptions/subscriptions';
import type { Answer, Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { account, expectBooksInOrder, hurryBreakers, moneyOf, order, ordersOf, type Row, story } from './shop';

jest.setTimeout(300_000);

/** The same plans each time; others by hand: RUNS=50 SEED=7 npx jest test/journeys/whatever-is-done */
const runs = Number(process.env['RUNS'] ?? 5);
const seed = Number(process.env['SEED'] ?? 1);
const ordersPerRun = 6;

const pausable = [
  'sagas.run',
  'orders.fulfil',
  'orders.progress',
  'orders.conclude-cancellation',
  'orders.order-details',
  'payments.charge',
  'payments.refund-cancelled',
  'products.release-cancelled',
  'products.commit-dispatched',
] as const;

type Action =
  | {
      readonly what: 'submit' | 'cancel' | 'dispatch' | 'hasLeft' | 'deliver' | 'retry' | 'reject';
      readonly nth: number;
    }
  | { readonly what: 'edit'; readonly nth: number; readonly quantity: number }
  | { readonly what: 'pause' | 'resume'; readonly subscription: (typeof pausable)[number] }
  | { readonly what: 'isolate' | 'reset'; readonly breaker: 'payment-provider' | 'carrier' }
  | { readonly what: 'let-it-work' };

const nth = fc.nat(ordersPerRun - 1);
const toOrder = fc.record({
  what: fc.constantFrom('submit', 'cancel', 'dispatch', 'dispatch', 'hasLeft', 'deliver', 'deliver', 'retry', 'reject'),
  nth,
}) as fc.Arbitrary<Action>;
const action = fc.oneof(
  { weight: 12, arbitrary: toOrder },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant('edit' as const), nth, quantity: fc.integer({ min: 1, max: 5 }) }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ what: fc.constant('pause' as const), subscription: fc.constantFrom(...pausable) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ what: fc.constant('resume' as const), subscription: fc.constantFrom(...pausable) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      what: fc.constantFrom('isolate' as const, 'reset' as const, 'reset' as const),
      breaker: fc.constantFrom('payment-provider' as const, 'carrier' as const),
    }),
  },
  { weight: 6, arbitrary: fc.constant({ what: 'let-it-work' as const }) },
);
const plan = fc.record({
  methods: fc.array(fc.constantFrom('sandbox_ok', 'sandbox_ok', 'sandbox_slow', 'sandbox_declined', 'sandbox_flaky'), {
    minLength: ordersPerRun,
    maxLength: ordersPerRun,
  }),
  actions: fc.array(action, { minLength: 30, maxLength: 60 }),
});

/** An order, and what was promised of it. */
interface Known {
  readonly placed: Answer;
  readonly promised: Set<'submitted' | 'cancelled' | 'dispatched' | 'delivered'>;
  quantity: number;
}

/** What customer, staff, carrier, provider and operators do, in any order, while subscriptions stand still in between. */
describe('whatever is done to an order', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp({ retry: { attempts: 3, backoffMs: 5 } });
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
    hurryBreakers(shop);
  });
  afterAll(() => shop.close());

  const operations = '/v1/operations';
  const shipmentOf = async ({ placed }: Known) =>
    (await staff.all(`/v1/shipments?orderId=${placed.body['id']}`))[0] as Row | undefined;
  const isGiven = ({ status }: Answer) => status < 300;

  async function toShipment(known: Known, path: string, body: object): Promise<Answer | undefined> {
    const shipment = await shipmentOf(known);
    return shipment && staff.post(`/v1/shipments/${shipment['id']}/${path}`, body);
  }

  async function toSaga({ placed }: Known, what: string): Promise<void> {
    const parked = await staff.all(`${operations}/sagas?status=parked`);
    const saga = parked.find(({ subject }) => subject === placed.body['id']);
    if (saga) await staff.post(`${operations}/sagas/${saga['id']}/${what}`, { reason: 'the plan says so' });
  }

  async function carryOut(action: Action, orders: readonly Known[]): Promise<void> {
    if (action.what === 'let-it-work') {
      const subscriptions = shop.app.get(Subscriptions, { strict: false });
      for (let events = 0; events < 5; events++) await subscriptions.next(() => true, 60);
    } else if ('subscription' in action) {
      await staff.post(`${operations}/subscriptions/${action.subscription}/${action.what}`);
    } else if ('breaker' in action) {
      await staff.post(`${operations}/circuit-breakers/${action.breaker}/${action.what}`);
    } else {
      const known = orders[action.nth]!;
      const { placed, promised } = known;
      const path = `/v1/orders/${placed.body['id']}`;
      if (action.what === 'edit') {
        const [{ lineId }] = placed.body['lines'] as [Row];
        const { quantity } = action;
        if (isGiven(await ada.patch(`${path}/lines/${lineId}`, { quantity }))) known.quantity = quantity;
      } else if (action.what === 'submit') {
        if (isGiven(await ada.post(`${path}/submit`, {}))) promised.add('submitted');
      } else if (action.what === 'cancel') {
        if (isGiven(await ada.post(`${path}/cancel`))) promised.add('cancelled');
      } else if (action.what === 'retry' || action.what === 'reject') {
        await toSaga(known, action.what === 'retry' ? 'retry' : 'reject-cancellation');
      } else {
        const hasLeft = action.what === 'hasLeft';
        const answer = await toShipment(known, action.what === 'deliver' ? 'deliver' : 'dispatch', { hasLeft });
        if (answer && isGiven(answer)) promised.add(action.what === 'deliver' ? 'delivered' : 'dispatched');
      }
    }
  }

  async function comeToRest(): Promise<void> {
    for (const name of pausable) await staff.post(`${operations}/subscriptions/${name}/resume`);
    for (const name of ['payment-provider', 'carrier'])
      await staff.post(`${operations}/circuit-breakers/${name}/reset`);
    await shop.settled();
  }

  async function expectKept(known: Known): Promise<void> {
    const { placed, promised, quantity } = known;
    const { status, paymentStatus, total } = await ordersOf(ada, placed);
    const shipment = (await shipmentOf(known))?.['status'];
    const types = await story(shop, placed);
    const { keptMinor } = (await moneyOf(shop, placed.body['id'] as string)) as { keptMinor: number };
    const seen = { promised: [...promised], status, paymentStatus, shipment, keptMinor, types };
    const has = (type: string) => types.includes(type);
    const holds = (sentence: string, is: boolean) =>
      expect({ sentence, is, ...seen }).toEqual({ sentence, is: true, ...seen });

    const hasLeft = ['shipped', 'delivered', 'completed'].includes(status as string);
    holds(
      'an accepted cancellation is carried out, or rejected in the order',
      !promised.has('cancelled') || status === 'cancelled' || has('order.cancellation-rejected'),
    );
    holds('what was dispatched is shipped', !promised.has('dispatched') || hasLeft);
    holds('what was delivered is completed', !promised.has('delivered') || status === 'completed');
    holds('what was submitted is no draft', !promised.has('submitted') || has('order.submitted'));
    holds(
      'nothing is on its way any more',
      ['draft', 'fulfilling', 'shipped', 'completed', 'cancelled'].includes(status as string),
    );
    holds('the total is that of the last accepted change', (total as Row)['amountMinor'] === quantity * 1250);
    holds(
      'money is kept for what is carried out, and for nothing else',
      keptMinor === (hasLeft || status === 'fulfilling' ? quantity * 1250 : 0),
    );
    holds(
      'the parcel is where the order says',
      shipment ===
        ({ fulfilling: 'created', shipped: 'dispatched', completed: 'delivered' }[status as string] ??
          (shipment === 'cancelled' ? shipment : undefined)),
    );
    holds('nothing is cancelled after it left', !has('order.shipped') || !has('order.cancelled'));
    holds('goods leave the stock with the parcel', has('stock.committed') === hasLeft);
  }

  it('keeps what it has accepted, and money, stock and shipment agree at the end', async () => {
    const ends = new Map<string, number>();
    await fc.assert(
      fc.asyncProperty(plan, async ({ methods, actions }) => {
        const orders: Known[] = [];
        try {
          for (const paymentMethod of methods) {
            // some are drafts at first
            const submit = orders.length % 3 > 0;
            const placed = await order(ada, { submit, paymentMethod });
            orders.push({ placed, promised: new Set(submit ? ['submitted'] : []), quantity: 2 });
          }
          // two at a time, so that they also meet
          for (let at = 0; at < actions.length; at += 2) {
            await Promise.all(distinct(actions.slice(at, at + 2)).map((each) => carryOut(each, orders)));
          }
        } finally {
          await comeToRest();
        }
        for (const known of orders) {
          await expectKept(known);
          for (const promise of known.promised) ends.set(promise, (ends.get(promise) ?? 0) + 1);
        }
      }),
      { numRuns: runs, seed, endOnFailure: true },
    );
    expect([...ends.keys()].sort()).toEqual(['cancelled', 'delivered', 'dispatched', 'submitted']);
    await expectBooksInOrder(shop);
  });
});

/** Edits of one order follow each other: of two at once nobody can say which was the last. */
function distinct(actions: readonly Action[]): Action[] {
  const [first, second] = actions;
  const isSame = first?.what === 'edit' && second?.what === 'edit' && first.nth === second.nth;
  return isSame ? [first] : [...actions];
}
