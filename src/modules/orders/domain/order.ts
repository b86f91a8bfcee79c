import { DomainError } from '../../../kernel/domain-error';
import type { Decider } from '../../../kernel/event-store/decider';
import type { EventOf } from '../../../kernel/event-store/event';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import {
  assertAvailable,
  assertOneCurrency,
  type Line,
  mixedCurrency,
  type Offers,
  type Priced,
  priced,
  type PriceMove,
  priceMoves,
  repriced,
  totalMinor,
} from './lines';

export type Customer =
  { readonly kind: 'account'; readonly userId: string } | { readonly kind: 'guest'; readonly person: Sealed<Guest> };

export interface Guest {
  readonly name?: string;
  readonly email?: string;
}

/** Text of the caller's own by keys of the caller's own. */
export type Metadata = Readonly<Record<string, string>>;

export interface Address {
  readonly name: string;
  readonly line1: string;
  readonly line2?: string;
  readonly postalCode?: string;
  readonly city: string;
  /** ISO 3166-1 alpha-2. */
  readonly countryCode: string;
}

/** Why an order came to nothing: the step that failed, if one did. */
export interface Cancellation {
  readonly reason: string;
  readonly step?: string;
  readonly code?: string;
}

/** What an order is about, in whatever state it is. */
interface Content {
  readonly orderId: string;
  readonly customer: Customer;
  readonly currency: string;
  readonly lines: readonly Line[];
  readonly shippingAddress?: Sealed<Address>;
  readonly paymentMethod?: string;
  /** Not there without any. */
  readonly metadata?: Sealed<Metadata>;
}

/** The way of an order that goes well, in order. */
export const stages = ['submitted', 'reserved', 'paid', 'fulfilling', 'shipped', 'delivered', 'completed'] as const;
export type Stage = (typeof stages)[number];

export type Order =
  | { readonly status: 'none' }
  | (Content & { readonly status: 'draft' })
  | (Content & { readonly status: Stage; readonly cancelling: boolean })
  | (Content & { readonly status: 'cancelled' });

/** What others see: an order whose cancellation has been accepted and is not concluded is `cancelling`. */
export const orderStatuses = ['draft', ...stages, 'cancelling', 'cancelled'] as const;
export type OrderStatus = (typeof orderStatuses)[number];

interface OrderFact {
  readonly orderId: string;
}

export type OrderEvent =
  | EventOf<
      'order.created',
      OrderFact & {
        customer: Customer;
        currency: string;
        lines: readonly Line[];
        /** RFC 3339; when the customer ordered, which for an import is long before it is recorded. */
        orderedAt: string;
        /** The caller's own number for it. */
        reference?: string;
        shippingAddress?: Sealed<Address>;
        paymentMethod?: string;
        metadata?: Sealed<Metadata>;
      }
    >
  | EventOf<'order.item-added', OrderFact & { line: Line; currency: string }>
  | EventOf<'order.item-changed', OrderFact & { lineId: string; quantity: number }>
  | EventOf<'order.item-removed', OrderFact & { lineId: string }>
  | EventOf<
      'order.prices-changed',
      OrderFact & { currency: string; previousCurrency: string; prices: readonly PriceMove[] }
    >
  | EventOf<'order.shipping-address-set', OrderFact & { address: Sealed<Address> }>
  /** All of it; none when the last of it was removed. */
  | EventOf<'order.metadata-changed', OrderFact & { metadata?: Sealed<Metadata> }>
  /** `paymentMethod` may be missing if nothing is to be paid. */
  | EventOf<'order.submitted', OrderFact & { totalMinor: number; currency: string; paymentMethod?: string }>
  | EventOf<'order.reserved', OrderFact>
  | EventOf<'order.paid', OrderFact & { paymentId: string }>
  | EventOf<'order.fulfilling', OrderFact & { shipmentId: string }>
  | EventOf<'order.shipped', OrderFact>
  | EventOf<'order.delivered', OrderFact>
  | EventOf<'order.completed', OrderFact>
  | EventOf<'order.cancellation-requested', OrderFact & { reason: string }>
  /** It came too late. `status`: where the order stands instead. */
  | EventOf<'order.cancellation-rejected', OrderFact & { reason: string; status: Stage }>
  | EventOf<'order.cancelled', OrderFact & Cancellation>;

export const orderEventTypes: readonly OrderEvent['type'][] = [
  'order.created',
  'order.item-added',
  'order.item-changed',
  'order.item-removed',
  'order.prices-changed',
  'order.shipping-address-set',
  'order.metadata-changed',
  'order.submitted',
  'order.reserved',
  'order.paid',
  'order.fulfilling',
  'order.shipped',
  'order.delivered',
  'order.completed',
  'order.cancellation-requested',
  'order.cancellation-rejected',
  'order.cancelled',
];

/** On whose behalf; a customer may touch only their own orders, and does not even learn that others exist. */
export interface By {
  readonly userId: string;
  readonly staff: boolean;
}

type Created = Extract<OrderEvent, { type: 'order.created' }>;

/** What a client displayed as the total. */
export interface ExpectedTotal {
  readonly amountMinor: number;
  readonly currency: string;
}

/** `offers` has all products of the draft: changing a line and submitting update the prices of all lines. */
export type OrderCommand =
  | { type: 'create'; order: Omit<Created, 'type'>; submit: boolean; offers: Offers; expectedTotal?: ExpectedTotal }
  | { type: 'add-line'; by: By; line: Line; currency: string; offers: Offers }
  | { type: 'change-line'; by: By; lineId: string; quantity: number; offers: Offers }
  | { type: 'remove-line'; by: By; lineId: string; offers: Offers }
  | { type: 'set-address'; by: By; address: Sealed<Address> }
  | { type: 'change-metadata'; by: By; metadata?: Sealed<Metadata> }
  | { type: 'submit'; by: By; paymentMethod?: string; offers: Offers; expectedTotal?: ExpectedTotal }
  | { type: 'cancel'; by: By; reason: string }
  | { type: 'mark-reserved' }
  | { type: 'mark-paid'; paymentId: string }
  | { type: 'mark-fulfilling'; shipmentId: string }
  /** `hasLeft`: nobody can keep the parcel from leaving any more. */
  | { type: 'ship'; shipmentId: string; hasLeft: boolean }
  | { type: 'mark-shipped'; shipmentId: string }
  | { type: 'mark-delivered' }
  | { type: 'reject-cancellation'; reason: string }
  | ({ type: 'conclude-cancellation' } & Cancellation);

export const maxLines = 1000;

/** Under whose key an order's personal data is sealed: a guest is known by this one order only. */
export function personBehind({ orderId, customer }: Pick<Content, 'orderId' | 'customer'>): string {
  return customer.kind === 'account' ? customer.userId : orderId;
}

/** What can be done with an order by hand, in each state. */
export const allowedActions: Readonly<Record<OrderStatus, readonly string[]>> = {
  draft: ['addLine', 'changeLine', 'removeLine', 'setShippingAddress', 'submit', 'cancel'],
  submitted: ['cancel'],
  reserved: ['cancel'],
  paid: ['cancel'],
  fulfilling: ['cancel'],
  cancelling: [],
  shipped: [],
  delivered: [],
  completed: [],
  cancelled: [],
};

export const orderDecider: Decider<Order, OrderCommand, OrderEvent> = {
  type: 'order',
  initial: { status: 'none' },

  decide(command, order) {
    if (command.type === 'create') return create(command, order);
    if (order.status === 'none') throw unknownOrder();
    if ('by' in command) assertMay(command.by, order);
    const { orderId } = order;
    switch (command.type) {
      case 'add-line': {
        const open = draft(order, 'add a line');
        const { lines } = open;
        const { line, currency, offers } = command;
        if (lines.some(({ lineId }) => lineId === line.lineId)) return [];
        if (lines.length >= maxLines) throw invalid('too-many-lines', `An order has at most ${maxLines} lines.`);
        assertAvailable([...lines, line], offers, line.productId);
        const now = priced(lines, open.currency, offers);
        assertOneCurrency(now);
        if (lines.length > 0 && currency !== now.currency) throw mixedCurrency(now.currency, currency);
        assertTotal([...now.lines, line]);
        return [{ type: 'order.item-added', orderId, line, currency }, ...pricesChanged(orderId, open, now)];
      }
      case 'change-line': {
        const open = draft(order, 'change a line');
        const { lineId, quantity, offers, by } = command;
        const line = lineOf(open.lines, lineId);
        const isChange = line.quantity !== quantity;
        // staff agreed to a price for the quantity that they saw
        const priceAgreed = isChange && !by.staff ? undefined : line.priceAgreed;
        const lines = open.lines.map((each) => (each === line ? { ...line, quantity, priceAgreed } : each));
        if (isChange) assertAvailable(lines, offers, line.productId);
        const now = priced(lines, open.currency, offers);
        assertOneCurrency(now);
        assertTotal(now.lines);
        const changed: OrderEvent = { type: 'order.item-changed', orderId, lineId, quantity };
        return [...(isChange ? [changed] : []), ...pricesChanged(orderId, open, now)];
      }
      case 'remove-line': {
        const open = draft(order, 'remove a line');
        const { lineId, offers } = command;
        const line = lineOf(open.lines, lineId);
        const now = priced(
          open.lines.filter((each) => each !== line),
          open.currency,
          offers,
        );
        const removed: OrderEvent = { type: 'order.item-removed', orderId, lineId };
        // A draft whose products are now sold in several currencies is mended by removing lines, one after the other.
        if (now.otherCurrency !== undefined || !isCountable(now.lines)) return [removed];
        return [removed, ...pricesChanged(orderId, open, now)];
      }
      case 'set-address': {
        const { shippingAddress } = draft(order, 'set the shipping address');
        const { address } = command;
        if (shippingAddress?.sealed === address.sealed) return [];
        return [{ type: 'order.shipping-address-set', orderId, address }];
      }
      case 'change-metadata': {
        const { metadata } = command;
        if (order.metadata?.sealed === metadata?.sealed) return [];
        return [{ type: 'order.metadata-changed', orderId, metadata }];
      }
      case 'submit':
        // submitted already, and perhaps further by now: the wish has been granted
        if (order.status !== 'draft' && order.status !== 'cancelled') return [];
        return place(draft(order, 'submit'), command);
      case 'cancel': {
        const { reason } = command;
        if (order.status === 'cancelled') return [];
        if (order.status === 'draft') return [{ type: 'order.cancelled', orderId, reason }];
        if (stages.indexOf(order.status) >= stages.indexOf('shipped')) {
          throw wrongState(order, 'order-shipped', 'The parcel has left: an order can be cancelled only before that.');
        }
        return order.cancelling ? [] : [{ type: 'order.cancellation-requested', orderId, reason }];
      }
      case 'mark-reserved':
        return before(order, 'reserved') ? [{ type: 'order.reserved', orderId }] : [];
      case 'mark-paid':
        return before(order, 'paid') ? [{ type: 'order.paid', orderId, paymentId: command.paymentId }] : [];
      case 'mark-fulfilling':
        if (!before(order, 'fulfilling')) return [];
        return [{ type: 'order.fulfilling', orderId, shipmentId: command.shipmentId }];
      case 'ship': {
        const status = statusOf(order);
        if (status === 'cancelled' || (status === 'cancelling' && !command.hasLeft)) {
          const hint = status === 'cancelling' ? ' If the carrier has it already, say so with hasLeft.' : '';
          throw wrongState(order, `order-${status}`, `The order is ${status}: its parcel must not leave.${hint}`);
        }
        return shipped(order, command.shipmentId);
      }
      case 'mark-shipped':
        return shipped(order, command.shipmentId);
      case 'mark-delivered':
        // Paid in advance, always so far: with the delivery nobody owes anything any more.
        if (!before(order, 'delivered')) return [];
        return [
          ...rejection(order, tooLate),
          { type: 'order.delivered', orderId },
          { type: 'order.completed', orderId },
        ];
      case 'reject-cancellation':
        return rejection(order, command.reason);
      case 'conclude-cancellation': {
        // what has left is never cancelled, whatever was taken back
        if (!before(order, 'shipped')) return [];
        const { reason, step, code } = command;
        return [{ type: 'order.cancelled', orderId, reason, step, code }];
      }
    }
  },

  evolve(order, event) {
    if (event.type === 'order.created') {
      const { orderId, customer, currency, lines, shippingAddress, paymentMethod, metadata } = event;
      return { status: 'draft', orderId, customer, currency, lines, shippingAddress, paymentMethod, metadata };
    }
    if (order.status === 'none') return order;
    switch (event.type) {
      case 'order.item-added':
        // the first line settles it: until then the draft's currency is a guess
        return { ...order, currency: event.currency, lines: [...order.lines, event.line] };
      case 'order.item-changed': {
        const { lineId, quantity } = event;
        return { ...order, lines: order.lines.map((line) => (line.lineId === lineId ? { ...line, quantity } : line)) };
      }
      case 'order.item-removed':
        return { ...order, lines: order.lines.filter((line) => line.lineId !== event.lineId) };
      case 'order.prices-changed':
        return { ...order, currency: event.currency, lines: repriced(order.lines, event.prices) };
      case 'order.shipping-address-set':
        return { ...order, shippingAddress: event.address };
      case 'order.metadata-changed':
        return { ...order, metadata: event.metadata };
      case 'order.submitted':
        return { ...order, status: 'submitted', paymentMethod: event.paymentMethod, cancelling: false };
      case 'order.reserved':
      case 'order.paid':
      case 'order.fulfilling':
      case 'order.shipped':
      case 'order.delivered':
      case 'order.completed': {
        const status = event.type.slice('order.'.length) as Stage;
        return { ...order, status, cancelling: 'cancelling' in order && order.cancelling };
      }
      case 'order.cancellation-requested':
        return 'cancelling' in order ? { ...order, cancelling: true } : order;
      case 'order.cancellation-rejected':
        return 'cancelling' in order ? { ...order, cancelling: false } : order;
      case 'order.cancelled':
        return { ...order, status: 'cancelled' };
    }
  },
};

type Known = Exclude<Order, { status: 'none' }>;
type Draft = Extract<Order, { status: 'draft' }>;

function create(command: Extract<OrderCommand, { type: 'create' }>, state: Order): OrderEvent[] {
  if (state.status !== 'none') return [];
  const { order, submit, offers, expectedTotal } = command;
  if (order.lines.length > maxLines) throw invalid('too-many-lines', `An order has at most ${maxLines} lines.`);
  assertAvailable(order.lines, offers);
  assertTotal(order.lines);
  const draft: Draft = { status: 'draft', ...order };
  assertExpected(expectedTotal, draft, draft);
  const created: Created = { type: 'order.created', ...order };
  return submit ? [created, ...place(draft, { paymentMethod: order.paymentMethod, offers, expectedTotal })] : [created];
}

type Placing = Pick<Extract<OrderCommand, { type: 'submit' }>, 'paymentMethod' | 'offers' | 'expectedTotal'>;

/** A refusal leaves the draft as it was, with the prices that it had. */
function place(order: Draft, { paymentMethod: method, offers, expectedTotal }: Placing): OrderEvent[] {
  const { orderId, lines, shippingAddress } = order;
  if (lines.length === 0) {
    throw wrongState(order, 'order-empty', 'An order without lines cannot be submitted: add a line first.');
  }
  if (!shippingAddress) {
    throw wrongState(order, 'address-missing', 'Say where it goes first: PUT /v1/orders/{id}/shipping-address.');
  }
  assertAvailable(lines, offers);
  const now = priced(lines, order.currency, offers);
  assertOneCurrency(now);
  assertTotal(now.lines);
  assertExpected(expectedTotal, order, now);
  const total = totalMinor(now.lines);
  const paymentMethod = method ?? order.paymentMethod;
  if (paymentMethod === undefined && total > 0) {
    throw wrongState(order, 'payment-method-missing', 'Say how it is paid: give paymentMethod.');
  }
  return [
    ...pricesChanged(orderId, order, now),
    { type: 'order.submitted', orderId, totalMinor: total, currency: now.currency, paymentMethod },
  ];
}

function pricesChanged(orderId: string, before: Priced, now: Priced): OrderEvent[] {
  const prices = priceMoves(before, now);
  if (prices.length === 0) return [];
  return [{ type: 'order.prices-changed', orderId, currency: now.currency, previousCurrency: before.currency, prices }];
}

/** @throws DomainError `price-changed`, with what the order costs now; the lines whose price moved come first */
function assertExpected(expected: ExpectedTotal | undefined, before: Priced, now: Priced): void {
  const { currency } = now;
  const amountMinor = totalMinor(now.lines);
  if (!expected || (expected.amountMinor === amountMinor && expected.currency === currency)) return;
  const previous = new Map(priceMoves(before, now).map((move) => [move.lineId, move.previousMinor]));
  const lines = now.lines
    .map(({ lineId, productId, sku, name, quantity, unitPriceMinor }) => {
      const previousMinor = previous.get(lineId);
      return {
        lineId,
        productId,
        sku,
        name,
        quantity,
        unitPrice: { amountMinor: unitPriceMinor, currency },
        ...(previousMinor !== undefined && {
          previousUnitPrice: { amountMinor: previousMinor, currency: before.currency },
        }),
      };
    })
    .sort((a, b) => Number(previous.has(b.lineId)) - Number(previous.has(a.lineId)));
  const message =
    `The total is ${amountMinor} ${currency} in minor units, not ${expected.amountMinor} ${expected.currency}: ` +
    'nothing was placed. Show the new total, and repeat the request with it as expectedTotal.';
  throw new DomainError('conflict', 'price-changed', message, { total: { amountMinor, currency }, lines });
}

/** @throws DomainError `order-unknown` */
export function assertMay(by: By, order: Known): void {
  if (by.staff || (order.customer.kind === 'account' && order.customer.userId === by.userId)) return;
  throw unknownOrder();
}

/** True while an order under way has not come as far as `stage`. */
function before(order: Known, stage: Stage): boolean {
  if (order.status === 'draft' || order.status === 'cancelled') return false;
  return stages.indexOf(order.status) < stages.indexOf(stage);
}

const tooLate = 'The parcel had left already.';

/** A cancellation that is not concluded is too late; the stages on the way there are recorded too. */
function shipped(order: Known, shipmentId: string): OrderEvent[] {
  if (!before(order, 'shipped')) return [];
  const { orderId } = order;
  const fulfilling: OrderEvent[] = before(order, 'fulfilling')
    ? [{ type: 'order.fulfilling', orderId, shipmentId }]
    : [];
  return [...rejection(order, tooLate), ...fulfilling, { type: 'order.shipped', orderId }];
}

function rejection(order: Known, reason: string): OrderEvent[] {
  if (!isCancelling(order)) return [];
  const { orderId, status } = order;
  return [{ type: 'order.cancellation-rejected', orderId, reason, status }];
}

function isCancelling(order: Known): order is Extract<Order, { cancelling: boolean }> {
  return order.status !== 'cancelled' && 'cancelling' in order && order.cancelling;
}

/** As others see it. */
export function statusOf(order: Known): OrderStatus {
  return isCancelling(order) ? 'cancelling' : order.status;
}

function draft(order: Known, action: string): Draft {
  if (order.status === 'draft') return order;
  throw wrongState(order, 'order-not-draft', `The order is ${statusOf(order)}: to ${action} it has to be a draft.`);
}

function lineOf(lines: readonly Line[], lineId: string): Line {
  const line = lines.find((each) => each.lineId === lineId);
  if (line) return line;
  throw new DomainError('not-found', 'line-unknown', `The order has no line ${lineId}.`);
}

function isCountable(lines: readonly Line[]): boolean {
  return Number.isSafeInteger(totalMinor(lines));
}

function assertTotal(lines: readonly Line[]): void {
  if (isCountable(lines)) return;
  throw invalid('total-too-large', 'The total is beyond what can be counted exactly.');
}

export function unknownOrder(): DomainError {
  return new DomainError('not-found', 'order-unknown', 'There is no such order.');
}

function wrongState(order: Known, code: string, message: string): DomainError {
  return new DomainError('conflict', code, message, { allowedActions: allowedActions[statusOf(order)] });
}

function invalid(code: string, message: string): DomainError {
  return new DomainError('invalid', code, message);
}
