import fc from 'fast-check';
import { DomainError } from '../../../src/kernel/domain-error';
import type { Sealed } from '../../../src/kernel/personal-data/sealed';
import {
  allowedActions,
  type Address,
  type By,
  type Guest,
  maxLines,
  type Metadata,
  type Order,
  type OrderCommand,
  orderDecider,
  type OrderEvent,
  stages,
  statusOf,
} from '../../../src/modules/orders/domain/order';
import { type Line, type Offer, type Offers, totalMinor } from '../../../src/modules/orders/domain/lines';
import { asStored, fold, given } from '../../support/given-when-then';

const orderId = '0198c2f0-0000-7000-8000-000000000001';
const ada: By = { userId: '0198c2f0-0000-7000-8000-00000000000a', staff: false };
const eve: By = { userId: '0198c2f0-0000-7000-8000-00000000000e', staff: false };
const staff: By = { userId: '0198c2f0-0000-7000-8000-00000000000f', staff: true };

const tea: Line = { lineId: 'tea', productId: 'p1', sku: 'TEA', name: 'Tea', quantity: 2, unitPriceMinor: 1250 };
const pot: Line = { lineId: 'pot', productId: 'p2', sku: 'POT', name: 'Pot', quantity: 1, unitPriceMinor: 5900 };
const cup: Line = { lineId: 'cup', productId: 'p3', sku: 'CUP', name: 'Cup', quantity: 1, unitPriceMinor: 700 };
const offerOf = ({ productId, sku, name, unitPriceMinor }: Line, change: Partial<Offer> = {}): [string, Offer] => {
  return [productId, { sku, name, unitPriceMinor, currency: 'EUR', available: 10_000_000, ...change }];
};
/** What the lines below cost as long as no test says otherwise. */
const offers: Offers = new Map([tea, pot, cup].map((line) => offerOf(line)));
const offersWith = (line: Line, change: Partial<Offer>): Offers => new Map([...offers, offerOf(line, change)]);
const sealed = <T extends object>(text: string): Sealed<T> => ({ person: ada.userId, sealed: text, members: [] });
const address = sealed<Address>('12 St James’s Square');

type Created = Extract<OrderEvent, { type: 'order.created' }>;

const content = {
  orderId,
  customer: { kind: 'account', userId: ada.userId },
  currency: 'EUR',
  orderedAt: '2026-01-01T00:00:00.000Z',
} as const;
const empty: Created = { type: 'order.created', ...content, lines: [] };
const created: Created = { ...empty, lines: [tea], shippingAddress: address, paymentMethod: 'sandbox_ok' };
const submitted: OrderEvent = {
  type: 'order.submitted',
  orderId,
  totalMinor: 2500,
  currency: 'EUR',
  paymentMethod: 'sandbox_ok',
};
const reserved: OrderEvent = { type: 'order.reserved', orderId };
const paid: OrderEvent = { type: 'order.paid', orderId, paymentId: 'pay' };
const fulfilling: OrderEvent = { type: 'order.fulfilling', orderId, shipmentId: 'ship' };
const shipped: OrderEvent = { type: 'order.shipped', orderId };
const delivered: OrderEvent = { type: 'order.delivered', orderId };
const completed: OrderEvent = { type: 'order.completed', orderId };
const cancellationRequested: OrderEvent = { type: 'order.cancellation-requested', orderId, reason: 'no more tea' };
const cancelled: OrderEvent = { type: 'order.cancelled', orderId, reason: 'no more tea' };

const order = (...past: OrderEvent[]) => given(orderDecider, ...past);
const placed = [created, submitted];

describe('creating an order', () => {
  const { type: _, ...data } = created;

  it('makes a draft', () => order().when({ type: 'create', order: data, submit: false, offers }).then(created));
  it('can place it at once', () =>
    order().when({ type: 'create', order: data, submit: true, offers }).then(created, submitted));
  it('is quiet on repeat', () =>
    order(created).when({ type: 'create', order: data, submit: false, offers }).thenNothing());
  it('refuses to place it empty', () =>
    order()
      .when({ type: 'create', order: { ...data, lines: [] }, submit: true, offers })
      .thenRefused('order-empty'));
  it('refuses to place it without an address', () =>
    order()
      .when({ type: 'create', order: { ...data, shippingAddress: undefined }, submit: true, offers })
      .thenRefused('address-missing'));
  it('refuses to place it without a payment method', () =>
    order()
      .when({ type: 'create', order: { ...data, paymentMethod: undefined }, submit: true, offers })
      .thenRefused('payment-method-missing'));
  it('refuses more lines than it can have', () =>
    order()
      .when({ type: 'create', order: { ...data, lines: Array<Line>(maxLines + 1).fill(tea) }, submit: false, offers })
      .thenRefused('too-many-lines'));
  it('refuses a total that cannot be counted exactly', () =>
    order()
      .when({
        type: 'create',
        order: { ...data, lines: [{ ...tea, unitPriceMinor: Number.MAX_SAFE_INTEGER }] },
        submit: false,
        offers,
      })
      .thenRefused('total-too-large'));
});

describe('adding a line', () => {
  const add = { type: 'add-line', by: ada, line: pot, currency: 'EUR', offers } as const;

  it('adds it', () => order(created).when(add).then({ type: 'order.item-added', orderId, line: pot, currency: 'EUR' }));
  it('is quiet on repeat', () =>
    order(created, { type: 'order.item-added', orderId, line: pot, currency: 'EUR' }).when(add).thenNothing());
  it('lets the first line settle the currency', () => {
    const added: OrderEvent = { type: 'order.item-added', orderId, line: pot, currency: 'USD' };
    const inDollars = offersWith(pot, { currency: 'USD' });
    order(empty)
      .when({ ...add, currency: 'USD', offers: inDollars })
      .then(added);
    expect(fold(orderDecider, [empty, added])).toMatchObject({ currency: 'USD' });
    order(empty, added)
      .when({ ...add, line: tea, offers: inDollars })
      .thenRefused('mixed-currency');
  });
  it('refuses another currency', () =>
    order(created)
      .when({ ...add, currency: 'USD' })
      .thenRefused('mixed-currency'));
  it('refuses one line too many', () =>
    order({ ...created, lines: Array<Line>(maxLines).fill(tea) })
      .when(add)
      .thenRefused('too-many-lines'));
  it('refuses a total that cannot be counted exactly', () =>
    order(created)
      .when({ ...add, line: { ...pot, unitPriceMinor: Number.MAX_SAFE_INTEGER } })
      .thenRefused('total-too-large'));
  it('refuses once the order is placed', () =>
    order(...placed)
      .when(add)
      .thenRefused('order-not-draft'));
  it('refuses for an order that never was', () => order().when(add).thenRefused('order-unknown'));
});

describe('changing a line', () => {
  const change = { type: 'change-line', by: ada, lineId: 'tea', quantity: 3, offers } as const;
  const changed: OrderEvent = { type: 'order.item-changed', orderId, lineId: 'tea', quantity: 3 };

  it('changes the quantity', () => order(created).when(change).then(changed));
  it('is quiet on repeat', () => order(created, changed).when(change).thenNothing());
  it('refuses for a line that is not there', () =>
    order(created)
      .when({ ...change, lineId: 'pot' })
      .thenRefused('line-unknown'));
  it('refuses a total that cannot be counted exactly', () =>
    order({ ...created, lines: [{ ...tea, unitPriceMinor: 2 ** 52 - 1, priceAgreed: true }] })
      .when({ ...change, by: staff })
      .thenRefused('total-too-large'));
  it('refuses once the order is placed', () =>
    order(...placed)
      .when(change)
      .thenRefused('order-not-draft'));
});

describe('removing a line', () => {
  const remove = { type: 'remove-line', by: ada, lineId: 'tea', offers } as const;
  const removed: OrderEvent = { type: 'order.item-removed', orderId, lineId: 'tea' };

  it('removes it', () => order(created).when(remove).then(removed));
  it('refuses for a line that is not there', () => order(created, removed).when(remove).thenRefused('line-unknown'));
  it('refuses once the order is placed', () =>
    order(...placed)
      .when(remove)
      .thenRefused('order-not-draft'));
});

describe('changing the metadata', () => {
  const change = { type: 'change-metadata', by: ada, metadata: sealed<Metadata>('channel') } as const;
  const changed: OrderEvent = { type: 'order.metadata-changed', orderId, metadata: change.metadata };
  const removed: OrderEvent = { type: 'order.metadata-changed', orderId, metadata: undefined };

  it('sets it, in any state', () => {
    for (const events of [[empty], [created], placed, [created, cancelled]])
      order(...events)
        .when(change)
        .then(changed);
  });
  it('is quiet on repeat', () => order(created, changed).when(change).thenNothing());
  it('removes it', () =>
    order(created, changed)
      .when({ ...change, metadata: undefined })
      .then(removed));
  it('is quiet when there is none to remove', () =>
    order(created, changed, removed)
      .when({ ...change, metadata: undefined })
      .thenNothing());
  it('knows what the order was made with', () =>
    order({ ...created, metadata: change.metadata })
      .when(change)
      .thenNothing());
});

describe('setting the shipping address', () => {
  const elsewhere = sealed<Address>('somewhere else');
  const set = { type: 'set-address', by: ada, address: elsewhere } as const;
  const moved: OrderEvent = { type: 'order.shipping-address-set', orderId, address: elsewhere };

  it('sets it', () => order(created).when(set).then(moved));
  it('sets a first one', () => order(empty).when(set).then(moved));
  it('is quiet on repeat', () => order(created, moved).when(set).thenNothing());
  it('can go back', () =>
    order(created, moved)
      .when({ ...set, address })
      .then({ ...moved, address }));
  it('refuses once the order is placed', () =>
    order(...placed)
      .when(set)
      .thenRefused('order-not-draft'));
});

describe('submitting an order', () => {
  const submit = { type: 'submit', by: ada, offers } as const;

  it('places it at the total of its lines', () => order(created).when(submit).then(submitted));
  it('takes the payment method that comes with it', () =>
    order(created)
      .when({ ...submit, paymentMethod: 'sandbox_slow' })
      .then({ ...submitted, paymentMethod: 'sandbox_slow' }));
  it('is quiet on repeat, however far it has come', () => {
    order(...placed)
      .when(submit)
      .thenNothing();
    order(...placed, reserved, paid, fulfilling, shipped)
      .when(submit)
      .thenNothing();
  });
  it('refuses an empty one', () => order(empty).when(submit).thenRefused('order-empty'));
  it('refuses one that goes nowhere', () =>
    order({ ...empty, lines: [tea] })
      .when(submit)
      .thenRefused('address-missing'));
  it('needs no payment method if nothing is to be paid', () =>
    order({ ...created, lines: [{ ...tea, unitPriceMinor: 0 }], paymentMethod: undefined })
      .when({ ...submit, offers: offersWith(tea, { unitPriceMinor: 0 }) })
      .then({ type: 'order.submitted', orderId, totalMinor: 0, currency: 'EUR' }));
  it('refuses one that nobody pays', () =>
    order({ ...created, paymentMethod: undefined })
      .when(submit)
      .thenRefused('payment-method-missing'));
  it('refuses a cancelled one', () => order(created, cancelled).when(submit).thenRefused('order-not-draft'));
});

const priceRaised: OrderEvent = {
  type: 'order.prices-changed',
  orderId,
  currency: 'EUR',
  previousCurrency: 'EUR',
  prices: [{ lineId: 'tea', previousMinor: 1250, unitPriceMinor: 5000 }],
};

describe('the prices of a draft', () => {
  const dearer = offersWith(tea, { unitPriceMinor: 5000 });
  const inDollars = offersWith(tea, { unitPriceMinor: 1400, currency: 'USD' });
  const potAdded: OrderEvent = { type: 'order.item-added', orderId, line: pot, currency: 'EUR' };
  const agreed: Created = { ...created, lines: [{ ...tea, unitPriceMinor: 900, priceAgreed: true }] };

  it('are those of the catalogue when a line is added, changed or removed, or the draft is submitted', () => {
    order(created)
      .when({ type: 'add-line', by: ada, line: pot, currency: 'EUR', offers: dearer })
      .then(potAdded, priceRaised);
    order(created)
      .when({ type: 'change-line', by: ada, lineId: 'tea', quantity: 3, offers: dearer })
      .then({ type: 'order.item-changed', orderId, lineId: 'tea', quantity: 3 }, priceRaised);
    order(created, potAdded)
      .when({ type: 'remove-line', by: ada, lineId: 'pot', offers: dearer })
      .then({ type: 'order.item-removed', orderId, lineId: 'pot' }, priceRaised);
    order(created)
      .when({ type: 'submit', by: ada, offers: dearer })
      .then(priceRaised, { ...submitted, totalMinor: 10_000 });
  });
  it('are taken once', () =>
    order(created, priceRaised)
      .when({ type: 'submit', by: ada, offers: dearer })
      .then({ ...submitted, totalMinor: 10_000 }));
  it('stay as they are once it is placed', () =>
    order(...placed)
      .when({ type: 'submit', by: ada, offers: dearer })
      .thenNothing());
  it('may move to another currency together', () =>
    order(created)
      .when({ type: 'submit', by: ada, offers: inDollars })
      .then(
        {
          type: 'order.prices-changed',
          orderId,
          currency: 'USD',
          previousCurrency: 'EUR',
          prices: [{ lineId: 'tea', previousMinor: 1250, unitPriceMinor: 1400 }],
        },
        { ...submitted, totalMinor: 2800, currency: 'USD' },
      ));
  it('must be in one currency, except while lines are removed', () => {
    const mixed = order(created, potAdded);
    mixed.when({ type: 'submit', by: ada, offers: inDollars }).thenRefused('mixed-currency');
    mixed
      .when({ type: 'change-line', by: ada, lineId: 'tea', quantity: 1, offers: inDollars })
      .thenRefused('mixed-currency');
    mixed
      .when({ type: 'add-line', by: ada, line: cup, currency: 'EUR', offers: inDollars })
      .thenRefused('mixed-currency');
    order(created, potAdded, { ...potAdded, line: cup })
      .when({ type: 'remove-line', by: ada, lineId: 'pot', offers: inDollars })
      .then({ type: 'order.item-removed', orderId, lineId: 'pot' });
  });
  it('that staff agreed to hold, for the quantity that staff agreed to', () => {
    order(agreed)
      .when({ type: 'submit', by: ada, offers: dearer })
      .then({ ...submitted, totalMinor: 1800 });
    const changed: OrderEvent = { type: 'order.item-changed', orderId, lineId: 'tea', quantity: 9 };
    const change = { type: 'change-line', lineId: 'tea', quantity: 9, offers } as const;
    order(agreed)
      .when({ ...change, by: staff })
      .then(changed);
    const back: OrderEvent = {
      type: 'order.prices-changed',
      orderId,
      currency: 'EUR',
      previousCurrency: 'EUR',
      prices: [{ lineId: 'tea', previousMinor: 900, unitPriceMinor: 1250 }],
    };
    order(agreed)
      .when({ ...change, by: ada })
      .then(changed, back);
    order(agreed, changed, back)
      .when({ ...change, by: ada, offers: dearer })
      .then(priceRaised);
  });
  it('must add up to what the client displayed, if it says so', () => {
    const submit = { type: 'submit', by: ada, offers: dearer } as const;
    for (const expectedTotal of [
      { amountMinor: 2500, currency: 'EUR' },
      { amountMinor: 10_000, currency: 'USD' },
    ]) {
      order(created)
        .when({ ...submit, expectedTotal })
        .thenRefused('price-changed');
    }
    order(created)
      .when({ ...submit, expectedTotal: { amountMinor: 10_000, currency: 'EUR' } })
      .then(priceRaised, { ...submitted, totalMinor: 10_000 });
    const { type: _, ...data } = created;
    order()
      .when({ type: 'create', order: data, submit: false, offers, expectedTotal: { amountMinor: 1, currency: 'EUR' } })
      .thenRefused('price-changed');
  });
});

describe('what there is too little of', () => {
  const short = offersWith(tea, { available: 2 });
  const { type: _, ...data } = created;
  const more: Line = { ...tea, lineId: 'more', quantity: 1 };

  it('cannot be ordered, whichever way', () => {
    order(created)
      .when({ type: 'add-line', by: ada, line: more, currency: 'EUR', offers: short })
      .thenRefused('unavailable');
    order(created)
      .when({ type: 'change-line', by: ada, lineId: 'tea', quantity: 3, offers: short })
      .thenRefused('unavailable');
    order({ ...created, lines: [tea, more] })
      .when({ type: 'submit', by: ada, offers: short })
      .thenRefused('unavailable');
    order()
      .when({ type: 'create', order: { ...data, lines: [tea, more] }, submit: false, offers: short })
      .thenRefused('unavailable');
  });
  it('does not keep the rest of the draft from being changed', () => {
    const line: Line = { ...pot, lineId: 'other' };
    order({ ...created, lines: [tea, more] })
      .when({ type: 'add-line', by: ada, line, currency: 'EUR', offers: short })
      .then({ type: 'order.item-added', orderId, line, currency: 'EUR' });
    order({ ...created, lines: [tea, more] })
      .when({ type: 'change-line', by: ada, lineId: 'tea', quantity: 1, offers: short })
      .then({ type: 'order.item-changed', orderId, lineId: 'tea', quantity: 1 });
  });
});

describe('cancelling an order', () => {
  const cancel = { type: 'cancel', by: ada, reason: 'no more tea' } as const;

  it('ends a draft at once', () => order(created).when(cancel).then(cancelled));
  it('asks for it to be taken back, at every stage before the parcel leaves', () => {
    const way = [submitted, reserved, paid, fulfilling];
    way.forEach((_, nth) =>
      order(created, ...way.slice(0, nth + 1))
        .when(cancel)
        .then(cancellationRequested),
    );
  });
  it('is quiet on repeat', () => {
    order(...placed, cancellationRequested)
      .when(cancel)
      .thenNothing();
    order(created, cancelled).when(cancel).thenNothing();
  });
  it('does not forget the wish on the way', () =>
    order(...placed, cancellationRequested, reserved)
      .when(cancel)
      .thenNothing());
  it('refuses once the parcel has left', () => {
    const way = [...placed, reserved, paid, fulfilling, shipped, delivered, completed];
    [shipped, delivered, completed].forEach((last) =>
      order(...way.slice(0, way.indexOf(last) + 1))
        .when(cancel)
        .thenRefused('order-shipped'),
    );
  });
});

describe('what other modules did', () => {
  const steps: [OrderCommand, OrderEvent[]][] = [
    [{ type: 'mark-reserved' }, [reserved]],
    [{ type: 'mark-paid', paymentId: 'pay' }, [paid]],
    [{ type: 'mark-fulfilling', shipmentId: 'ship' }, [fulfilling]],
    [{ type: 'mark-shipped', shipmentId: 'ship' }, [shipped]],
    [{ type: 'mark-delivered' }, [delivered, completed]],
  ];

  it.each(steps.map(([command, events], nth) => [command.type, nth, command, events] as const))(
    '%s moves the order on, is quiet on repeat and too late, and leaves drafts and cancelled ones alone',
    (_, nth, command, [first, ...rest]) => {
      const before = [...placed, ...steps.slice(0, nth).flatMap(([, events]) => events)];
      order(...before)
        .when(command)
        .then(first!, ...rest);
      order(...before, first!, ...rest)
        .when(command)
        .thenNothing();
      order(...placed, ...steps.flatMap(([, events]) => events))
        .when(command)
        .thenNothing();
      order(created).when(command).thenNothing();
      order(...before, cancelled)
        .when(command)
        .thenNothing();
    },
  );

  it('mark-shipped and mark-delivered reject a cancellation that is not concluded: the parcel had left', () => {
    const rejected: OrderEvent = {
      type: 'order.cancellation-rejected',
      orderId,
      reason: 'The parcel had left already.',
      status: 'fulfilling',
    };
    const cancelling = [...placed, reserved, paid, fulfilling, cancellationRequested];
    order(...cancelling)
      .when({ type: 'mark-shipped', shipmentId: 'ship' })
      .then(rejected, shipped);
    order(...cancelling)
      .when({ type: 'mark-delivered' })
      .then(rejected, delivered, completed);
  });

  it('concludes a cancellation, with the step and the reason, once', () => {
    const conclude = {
      type: 'conclude-cancellation',
      reason: 'declined',
      step: 'processPayment',
      code: 'card',
    } as const;
    const concluded: OrderEvent = { ...conclude, type: 'order.cancelled', orderId };
    order(...placed)
      .when(conclude)
      .then(concluded);
    order(...placed, concluded)
      .when(conclude)
      .thenNothing();
    order(created).when(conclude).thenNothing();
  });
});

describe('letting the parcel leave', () => {
  const ship: OrderCommand = { type: 'ship', shipmentId: 'ship', hasLeft: false };
  const hasLeft: OrderCommand = { ...ship, hasLeft: true };
  const rejected = (status: 'paid' | 'fulfilling', reason: string): OrderEvent => {
    return { type: 'order.cancellation-rejected', orderId, reason, status };
  };
  const way = [...placed, reserved, paid];

  it('ships the order, and records the stages before that', () => {
    order(...way, fulfilling)
      .when(ship)
      .then(shipped);
    order(...way)
      .when(ship)
      .then(fulfilling, shipped);
  });
  it('is quiet on repeat', () =>
    order(...way, shipped)
      .when(ship)
      .thenNothing());
  it('is refused once a cancellation has been accepted', () => {
    order(...way, cancellationRequested)
      .when(ship)
      .thenRefused('order-cancelling');
    order(...way, cancellationRequested, cancelled)
      .when(ship)
      .thenRefused('order-cancelled');
  });
  it('rejects the cancellation when it has left all the same, unless that is concluded', () => {
    order(...way, cancellationRequested)
      .when(hasLeft)
      .then(rejected('paid', 'The parcel had left already.'), fulfilling, shipped);
    order(...way, cancellationRequested, cancelled)
      .when(hasLeft)
      .thenRefused('order-cancelled');
  });
  it('leaves no way back: what has left is never cancelled', () => {
    order(...way, shipped)
      .when({ type: 'conclude-cancellation', reason: 'skipped' })
      .thenNothing();
    order(...way, shipped)
      .when({ type: 'cancel', by: ada, reason: 'too late' })
      .thenRefused('order-shipped');
  });
  it('is allowed again after the cancellation was rejected', () => {
    order(...way, fulfilling, cancellationRequested)
      .when({ type: 'reject-cancellation', reason: 'the carrier insists' })
      .then(rejected('fulfilling', 'the carrier insists'));
    order(...way, fulfilling, cancellationRequested, rejected('fulfilling', 'the carrier insists'))
      .when(ship)
      .then(shipped);
    order(...way)
      .when({ type: 'reject-cancellation', reason: 'none was asked for' })
      .thenNothing();
  });
});

describe('whose order it is', () => {
  const commands: OrderCommand[] = [
    { type: 'add-line', by: eve, line: pot, currency: 'EUR', offers },
    { type: 'change-line', by: eve, lineId: 'tea', quantity: 3, offers },
    { type: 'remove-line', by: eve, lineId: 'tea', offers },
    { type: 'set-address', by: eve, address },
    { type: 'change-metadata', by: eve, metadata: sealed<Metadata>('malice') },
    { type: 'submit', by: eve, offers },
    { type: 'cancel', by: eve, reason: 'malice' },
  ];

  it.each(commands.map((command) => [command.type, command] as const))(
    '%s by somebody else finds no order, in any state',
    (_, command) => {
      order(created).when(command).thenRefused('order-unknown');
      order(...placed)
        .when(command)
        .thenRefused('order-unknown');
      order(created, cancelled).when(command).thenRefused('order-unknown');
    },
  );
  it('a guest’s order is for staff only', () => {
    const guests: OrderEvent = { ...created, customer: { kind: 'guest', person: sealed<Guest>('Grace') } };
    order(guests).when({ type: 'submit', by: ada, offers }).thenRefused('order-unknown');
    order(guests).when({ type: 'submit', by: staff, offers }).then(submitted);
  });
  it('staff may act for a customer', () => order(created).when({ type: 'submit', by: staff, offers }).then(submitted));
});

describe('any sequence of commands', () => {
  const lineId = fc.constantFrom('tea', 'pot', 'cup');
  const quantity = fc.oneof({ weight: 5, arbitrary: fc.integer({ min: 1, max: 9 }) }, fc.constant(1_000_000));
  const line = fc.record({
    lineId,
    productId: fc.constant('p'),
    sku: fc.constant('SKU'),
    name: fc.string(),
    quantity,
    unitPriceMinor: fc.oneof({ weight: 9, arbitrary: fc.nat(10_000) }, fc.maxSafeNat()),
    priceAgreed: fc.constantFrom(undefined, undefined, true as const),
  });
  /** Prices, currencies and stock that move between any two commands. */
  const someOffers: fc.Arbitrary<Offers> = fc
    .record({
      unitPriceMinor: fc.oneof({ weight: 9, arbitrary: fc.nat(10_000) }, fc.maxSafeNat()),
      currency: fc.constantFrom('EUR', 'EUR', 'EUR', 'USD'),
      available: fc.constantFrom(1_000_000, 1_000_000, 5, 0),
    })
    .chain((change) =>
      fc.constantFrom(
        new Map([tea, { ...tea, productId: 'p' }].map((line) => offerOf(line))),
        new Map([offerOf(tea), offerOf({ ...tea, productId: 'p' }, change)]),
        new Map([tea, { ...tea, productId: 'p' }].map((line) => offerOf(line, change))),
      ),
    );
  const by = fc.constantFrom(ada, ada, ada, staff, eve);
  const anAddress = fc.constantFrom(address, sealed<Address>('Ockham'));
  const command: fc.Arbitrary<OrderCommand> = fc.oneof(
    fc.record({
      type: fc.constant('create' as const),
      order: fc.record({
        orderId: fc.constant(orderId),
        customer: fc.constant(content.customer),
        currency: fc.constant('EUR'),
        orderedAt: fc.constant(content.orderedAt),
        lines: fc.uniqueArray(line, { maxLength: 2, selector: ({ lineId }) => lineId }),
        shippingAddress: fc.option(anAddress, { nil: undefined }),
        paymentMethod: fc.option(fc.constant('sandbox_ok'), { nil: undefined }),
      }),
      submit: fc.boolean(),
      offers: someOffers,
    }),
    fc.record({
      type: fc.constant('add-line' as const),
      by,
      line,
      currency: fc.constantFrom('EUR', 'EUR', 'EUR', 'USD'),
      offers: someOffers,
    }),
    fc.record({ type: fc.constant('change-line' as const), by, lineId, quantity, offers: someOffers }),
    fc.record({ type: fc.constant('remove-line' as const), by, lineId, offers: someOffers }),
    fc.record({ type: fc.constant('set-address' as const), by, address: anAddress }),
    fc.record({
      type: fc.constant('change-metadata' as const),
      by,
      metadata: fc.constantFrom(undefined, sealed<Metadata>('a'), sealed<Metadata>('b')),
    }),
    fc.record({
      type: fc.constant('submit' as const),
      by,
      paymentMethod: fc.constantFrom(undefined, 'sandbox_ok'),
      offers: someOffers,
    }),
    fc.record({ type: fc.constant('cancel' as const), by, reason: fc.string() }),
    fc.constantFrom<OrderCommand>(
      { type: 'mark-reserved' },
      { type: 'mark-paid', paymentId: 'pay' },
      { type: 'mark-fulfilling', shipmentId: 'ship' },
      { type: 'mark-shipped', shipmentId: 'ship' },
      { type: 'mark-delivered' },
      { type: 'ship', shipmentId: 'ship', hasLeft: false },
      { type: 'ship', shipmentId: 'ship', hasLeft: true },
      { type: 'reject-cancellation', reason: 'no way back' },
      { type: 'conclude-cancellation', reason: 'declined', step: 'processPayment', code: 'card_declined' },
    ),
  );
  /** Most begin with a draft that can be placed: else they would hardly ever get anywhere. */
  const sequence = fc
    .tuple(fc.boolean(), fc.array(command, { maxLength: 30 }))
    .map(([plain, commands]): OrderCommand[] => {
      const { type: _, ...data } = created;
      return plain ? commands : [{ type: 'create', order: data, submit: false, offers }, ...commands];
    });

  /** Every command in turn; what it refuses changes nothing. */
  function run(commands: readonly OrderCommand[], see: (before: Order, events: OrderEvent[], after: Order) => void) {
    const log: OrderEvent[] = [];
    let state = orderDecider.initial;
    for (const each of commands) {
      let events: OrderEvent[] = [];
      try {
        events = orderDecider.decide(each, state).map(asStored);
      } catch (error) {
        if (!(error instanceof DomainError)) throw error;
      }
      const after = events.reduce(orderDecider.evolve, state);
      see(state, events, after);
      log.push(...events);
      state = after;
    }
    return { log, state };
  }
  const holds = (see: (before: Order, events: OrderEvent[], after: Order) => void) =>
    fc.assert(fc.property(sequence, (commands) => void run(commands, see)));
  const seenAs = (state: Order) => (state.status === 'none' ? state.status : statusOf(state));
  const linesOf = (state: Order) => (state.status === 'none' ? [] : state.lines);
  const isStage = (status: string): status is (typeof stages)[number] => stages.some((stage) => stage === status);

  it('gets to all states, so that the other sentences speak of something', () => {
    const seen = new Set<string>();
    fc.assert(
      fc.property(sequence, (commands) => void run(commands, (_, __, after) => seen.add(seenAs(after)))),
      { seed: 1, numRuns: 2000 },
    );
    // with the delivery an order is completed, in one go
    expect([...seen].sort()).toEqual(
      ['none', ...Object.keys(allowedActions)].filter((one) => one !== 'delivered').sort(),
    );
  });

  it('keeps the total at the sum of the lines, a count that is exact', () =>
    holds((_, events, after) => {
      const total = linesOf(after).reduce((sum, { quantity, unitPriceMinor }) => sum + quantity * unitPriceMinor, 0);
      expect(totalMinor(linesOf(after))).toBe(total);
      expect(Number.isSafeInteger(total)).toBe(true);
      for (const event of events) if (event.type === 'order.submitted') expect(event.totalMinor).toBe(total);
    }));

  it('changes nothing of the content after it was submitted', () =>
    holds((before, events, after) => {
      if (before.status === 'none' || before.status === 'draft') return;
      expect(linesOf(after)).toEqual(linesOf(before));
      expect(after).toMatchObject({ shippingAddress: before.shippingAddress, paymentMethod: before.paymentMethod });
      expect(events.map(({ type }) => type)).not.toContain('order.created');
    }));

  it('never submits an order that is empty, goes nowhere or is not paid for if it costs anything', () =>
    holds((_, events, after) => {
      if (!events.some(({ type }) => type === 'order.submitted') || after.status === 'none') return;
      expect(after.lines.length).toBeGreaterThan(0);
      expect(after.shippingAddress).toBeDefined();
      if (totalMinor(after.lines) > 0) expect(after.paymentMethod).toBeDefined();
    }));

  it('submits only what there is enough of, at what it costs at that moment', () =>
    fc.assert(
      fc.property(sequence, someOffers, (commands, last) => {
        const { state } = run(commands, () => undefined);
        if (state.status !== 'draft' || state.lines.some((line) => line.priceAgreed)) return;
        const { log } = run(
          [...commands, { type: 'submit', by: staff, paymentMethod: 'sandbox_ok', offers: last }],
          () => undefined,
        );
        const after = fold(orderDecider, log);
        if (after.status !== 'submitted') return;
        for (const { productId, unitPriceMinor } of after.lines) {
          const wanted = after.lines
            .filter((line) => line.productId === productId)
            .reduce((sum, { quantity }) => sum + quantity, 0);
          const offer = last.get(productId)!;
          expect(offer).toMatchObject({ unitPriceMinor, currency: after.currency });
          expect(offer.available).toBeGreaterThanOrEqual(wanted);
        }
      }),
    ));

  it('leaves a cancelled order cancelled', () =>
    holds((before, events, after) => {
      if (before.status !== 'cancelled') return;
      expect(after.status).toBe('cancelled');
      // notes about it may be taken all the same
      expect(events.filter(({ type }) => type !== 'order.metadata-changed')).toEqual([]);
    }));

  it('goes through the stages in their order only, and takes none twice', () =>
    holds((before, _, after) => {
      if (!isStage(before.status) || !isStage(after.status)) return;
      expect(stages.indexOf(after.status)).toBeGreaterThanOrEqual(stages.indexOf(before.status));
    }));

  it('lets strangers change nothing', () =>
    fc.assert(
      fc.property(sequence, command, (commands, last) => {
        const { state } = run(commands, () => undefined);
        if (!('by' in last) || state.status === 'none') return;
        expect(() => orderDecider.decide({ ...last, by: eve }, state)).toThrow(DomainError);
      }),
    ));

  it('says nothing when the last command is repeated', () =>
    fc.assert(
      fc.property(sequence, command, (commands, last) => {
        const { state, log } = run([...commands, last], () => undefined);
        // gone is gone: a second removal is told that there is no such line
        if (last.type === 'remove-line') return;
        let again: OrderEvent[] = [];
        try {
          again = orderDecider.decide(last, state);
        } catch (error) {
          if (!(error instanceof DomainError)) throw error;
        }
        expect(again).toEqual([]);
        expect(fold(orderDecider, log)).toEqual(state);
      }),
    ));

  it('folds any events, also such as could not have happened', () => {
    const anyEvent = fc.constantFrom<OrderEvent>(
      created,
      { type: 'order.item-added', orderId, line: pot, currency: 'EUR' },
      { type: 'order.item-changed', orderId, lineId: 'cup', quantity: 2 },
      { type: 'order.item-removed', orderId, lineId: 'cup' },
      priceRaised,
      { type: 'order.shipping-address-set', orderId, address },
      ...[submitted, reserved, paid, fulfilling, shipped, delivered, completed, cancellationRequested, cancelled],
    );
    fc.assert(
      fc.property(fc.array(anyEvent), (events) => {
        const state = fold(orderDecider, events);
        expect(['none', ...Object.keys(allowedActions)]).toContain(state.status);
        if (events.includes(created)) expect(state.status).not.toBe('none');
      }),
    );
  });
});
