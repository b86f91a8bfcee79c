import type { OnModuleInit } from '@nestjs/common';
import { Command, CommandHandler, type ICommandHandler, type IEventHandler } from '@nestjs/cqrs';
import { currentContext } from '../../../kernel/context';
import { EventType } from '../../../kernel/event-store/event-type';
import { saga, SagaExecutionError, type SagaFailure, type Step } from '../../../kernel/sagas/saga';
import { Sagas } from '../../../kernel/sagas/sagas';
import type { Sealed } from '../../../kernel/personal-data/sealed';
import { Reaction } from '../../../kernel/subscriptions/reaction';
import { Subscriptions } from '../../../kernel/subscriptions/subscriptions';
import { ProcessPayment, RefundPayment } from '../../payments/contracts/process-payment';
import { ReleaseInventory, ReserveInventory } from '../../products/contracts/reserve-inventory';
import { CancelShipment, CreateShipment } from '../../shipping/contracts/create-shipment';
import { OrderSubmitted } from '../contracts/order-events';
import { type Line, totalMinor } from '../domain/lines';
import type { Address } from '../domain/order';
import { OrderStreams } from '../order-streams';

/** What it takes to carry out an order that costs nothing, as it stood when it was submitted. */
interface Giving {
  readonly orderId: string;
  readonly lines: readonly Pick<Line, 'productId' | 'sku' | 'name' | 'quantity'>[];
  readonly address: Sealed<Address>;
}

interface Fulfilment extends Giving {
  /** Integer minor units. */
  readonly totalMinor: number;
  readonly currency: string;
  readonly paymentMethod: string;
}

const reserveInventory: Step<Giving> = {
  execute: (f, { key }) =>
    new ReserveInventory(
      key,
      f.orderId,
      f.lines.map(({ productId, quantity }) => ({ productId, quantity })),
    ),
  compensate: (f, { key }) => new ReleaseInventory(key, f.orderId),
};

const createShipment: Step<Giving> = {
  execute: (f) =>
    new CreateShipment(
      f.orderId,
      f.address,
      f.lines.map(({ sku, name, quantity }) => ({ sku, name, quantity })),
    ),
  compensate: (f) => new CancelShipment(f.orderId),
};

export const OrderFulfilment = saga<Fulfilment>('order-fulfilment', { version: 1 })
  .step('reserveInventory', reserveInventory)
  .step('processPayment', {
    // the answer comes as payment.completed or payment.failed: see Progress
    awaited: true,
    execute: (f) => new ProcessPayment(f.orderId, f.totalMinor, f.currency, f.paymentMethod),
    compensate: (f) => new RefundPayment(f.orderId),
  })
  .step('createShipment', createShipment);

/** Nothing is charged for an order that costs nothing. By its name it is the same saga: an order has one of them. */
const FreeFulfilment = saga<Giving>(OrderFulfilment.name, { version: 2 })
  .step('reserveInventory', reserveInventory)
  .step('createShipment', createShipment);

@EventType('order.cancellation-requested')
class CancellationRequested {
  constructor(
    readonly orderId: string,
    readonly reason: string,
  ) {}
}

@EventType('order.cancellation-rejected')
class CancellationRejected {
  constructor(
    readonly orderId: string,
    readonly reason: string,
  ) {}
}

type Wish = OrderSubmitted | CancellationRequested | CancellationRejected;

/** A submitted order is carried out, and one that shall be cancelled is taken back. */
@Reaction(
  { name: 'orders.fulfil', partitionBy: 'orderId' },
  OrderSubmitted,
  CancellationRequested,
  CancellationRejected,
)
export class Fulfil implements IEventHandler<Wish>, OnModuleInit {
  constructor(
    private readonly sagas: Sagas,
    private readonly orders: OrderStreams,
  ) {}

  onModuleInit(): void {
    this.sagas.register(OrderFulfilment);
    this.sagas.register(FreeFulfilment);
  }

  async handle(event: Wish): Promise<void> {
    const { orderId } = event;
    if (event instanceof CancellationRequested) {
      return this.sagas.cancel(OrderFulfilment, orderId, event.reason);
    }
    if (event instanceof CancellationRejected) {
      return this.sagas.rejectCancellation(OrderFulfilment, orderId, event.reason);
    }
    const { state: order } = await this.orders.load(orderId);
    if (order.status === 'none' || !order.shippingAddress) return;
    const lines = order.lines.map(({ productId, sku, name, quantity }) => ({ productId, sku, name, quantity }));
    const giving = { orderId, lines, address: order.shippingAddress };
    const total = totalMinor(order.lines);
    if (total === 0) return this.sagas.start(FreeFulfilment, orderId, giving);
    await this.sagas.start(OrderFulfilment, orderId, {
      ...giving,
      totalMinor: total,
      currency: event.currency,
      // no order that costs something is submitted without one
      paymentMethod: event.paymentMethod!,
    });
  }
}

@EventType('saga.compensated')
class SagaCompensated {
  constructor(
    readonly saga: string,
    readonly subject: string,
    readonly step: string,
    readonly error: SagaFailure,
  ) {}
}

@EventType('saga.resolved')
class SagaResolved {
  constructor(
    readonly saga: string,
    readonly subject: string,
    readonly resolution: string,
    readonly reason: string,
  ) {}
}

/** Everything that was done for the order has been taken back: now it is cancelled. Or an operator has decided otherwise. */
@Reaction({ name: 'orders.conclude-cancellation' }, SagaCompensated, SagaResolved)
export class ConcludeCancellation implements IEventHandler<SagaCompensated | SagaResolved> {
  constructor(private readonly orders: OrderStreams) {}

  async handle(event: SagaCompensated | SagaResolved): Promise<void> {
    const { saga, subject } = event;
    if (saga !== OrderFulfilment.name) return;
    if (event instanceof SagaResolved) {
      if (event.resolution !== 'reject') return;
      await this.orders.decide(subject, { type: 'reject-cancellation', reason: event.reason });
      return;
    }
    const { step, error } = event;
    const { code, message: reason } = error;
    const failure = code === 'cancelled' ? {} : { step, code };
    await this.orders.decide(subject, { type: 'conclude-cancellation', reason, ...failure });
  }
}

/** Resolves when the order is on its way to the customer or has come to nothing, or when `timeoutMs` is over. */
export class AwaitFulfilment extends Command<'fulfilled' | 'cancelled' | 'still-running'> {
  constructor(
    readonly orderId: string,
    readonly timeoutMs: number,
  ) {
    super();
  }
}

@CommandHandler(AwaitFulfilment)
export class AwaitFulfilmentHandler implements ICommandHandler<AwaitFulfilment> {
  constructor(
    private readonly sagas: Sagas,
    private readonly orders: OrderStreams,
    private readonly subscriptions: Subscriptions,
  ) {}

  async execute({ orderId, timeoutMs }: AwaitFulfilment) {
    // The saga's end reaches the order a moment later, through the log: that is what the caller will read.
    const told = this.subscriptions.next(
      ({ aggregateId, eventType }) => aggregateId === orderId && /^order\.(fulfilling|cancelled)$/.test(eventType),
      timeoutMs,
    );
    const result = await this.outcome(orderId, timeoutMs);
    if (result === 'still-running') return result;
    const { state } = await this.orders.load(orderId);
    if (state.status === 'submitted' || state.status === 'reserved' || state.status === 'paid') {
      currentContext().saw((await told)?.position ?? 0);
    }
    return result;
  }

  private async outcome(orderId: string, timeoutMs: number) {
    try {
      const outputs = await this.sagas.outcome(OrderFulfilment, orderId, timeoutMs);
      return outputs ? 'fulfilled' : 'still-running';
    } catch (error) {
      if (error instanceof SagaExecutionError) return 'cancelled';
      throw error;
    }
  }
}
