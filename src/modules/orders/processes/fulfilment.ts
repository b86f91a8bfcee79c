import type { OnModuleInit } from '@nestjs/common';
import { Command, CommandHandler, type ICommandHandler, type IEventHandler } from '@nestjs/cqrs';
import { EventType } from '../../../kernel/event-store/event-type';
import { saga, SagaExecutionError, type SagaFailure } from '../../../kernel/sagas/saga';
import { Sagas } from '../../../kernel/sagas/sagas';
import { Reaction } from '../../../kernel/subscriptions/reaction';
import { ProcessPayment, RefundPayment } from '../../payments/contracts/process-payment';
import { ReleaseInventory, ReserveInventory } from '../../products/contracts/reserve-inventory';
import { CancelShipment, CreateShipment } from '../../shipping/contracts/create-shipment';
import { OrderSubmitted } from '../contracts/order-events';
import { type Address, type Line, totalMinor } from '../domain/order';
import { OrderStreams } from '../order-streams';

/** What it takes to carry an order out, as it stood when it was submitted. */
interface Fulfilment {
  readonly orderId: string;
  readonly lines: readonly Pick<Line, 'productId' | 'sku' | 'name' | 'quantity'>[];
  /** Integer minor units. */
  readonly totalMinor: number;
  readonly currency: string;
  readonly paymentMethod: string;
  readonly address: Address;
}

export const OrderFulfilment = saga<Fulfilment>('order-fulfilment', { version: 1 })
  .step('reserveInventory', {
    execute: (f, { key }) => new ReserveInventory(key, f.orderId, f.lines.map(({ productId, quantity }) => ({ productId, quantity }))),
    compensate: (f, { key }) => new ReleaseInventory(key, f.orderId),
  })
  .step('processPayment', {
    // the answer comes as payment.completed or payment.failed: see Progress
    awaited: true,
    execute: (f) => new ProcessPayment(f.orderId, f.totalMinor, f.currency, f.paymentMethod),
    compensate: (f) => new RefundPayment(f.orderId),
  })
  .step('createShipment', {
    execute: (f) => new CreateShipment(f.orderId, f.address, f.lines.map(({ sku, name, quantity }) => ({ sku, name, quantity }))),
    compensate: (f) => new CancelShipment(f.orderId),
  });

@EventType('order.cancellation-requested')
class CancellationRequested {
  constructor(
    readonly orderId: string,
    readonly reason: string,
  ) {}
}

/** A submitted order is carried out, and one that shall be cancelled is taken back. */
@Reaction({ name: 'orders.fulfil', partitionBy: 'orderId' }, OrderSubmitted, CancellationRequested)
export class Fulfil implements IEventHandler<OrderSubmitted | CancellationRequested>, OnModuleInit {
  constructor(
    private readonly sagas: Sagas,
    private readonly orders: OrderStreams,
  ) {}

  onModuleInit(): void {
    this.sagas.register(OrderFulfilment);
  }

  async handle(event: OrderSubmitted | CancellationRequested): Promise<void> {
    const { orderId } = event;
    if (event instanceof CancellationRequested) {
      return this.sagas.cancel(OrderFulfilment, orderId, event.reason);
    }
    const { state: order } = await this.orders.load(orderId);
    if (order.status === 'none' || !order.shippingAddress) return;
    await this.sagas.start(OrderFulfilment, orderId, {
      orderId,
      lines: order.lines.map(({ productId, sku, name, quantity }) => ({ productId, sku, name, quantity })),
      totalMinor: totalMinor(order.lines),
      currency: event.currency,
      paymentMethod: event.paymentMethod,
      address: order.shippingAddress,
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

/** Everything that was done for the order has been taken back: now it is cancelled. */
@Reaction({ name: 'orders.conclude-cancellation' }, SagaCompensated)
export class ConcludeCancellation implements IEventHandler<SagaCompensated> {
  constructor(private readonly orders: OrderStreams) {}

  async handle({ saga, subject, step, error }: SagaCompensated): Promise<void> {
    if (saga !== OrderFulfilment.name) return;
    await this.orders.decide(subject, conclusion(step, error));
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
  ) {}

  /** Writes the end into the order itself, should the reaction to it not have done so yet: the caller reads it next. */
  async execute({ orderId, timeoutMs }: AwaitFulfilment) {
    try {
      const outputs = await this.sagas.outcome(OrderFulfilment, orderId, timeoutMs);
      if (!outputs) return 'still-running';
      const { shipmentId } = outputs['createShipment'] as { shipmentId: string };
      await this.orders.decide(orderId, { type: 'mark-fulfilling', shipmentId });
      return 'fulfilled';
    } catch (error) {
      if (!(error instanceof SagaExecutionError)) throw error;
      await this.orders.decide(orderId, conclusion(error.step, error.cause));
      return 'cancelled';
    }
  }
}

function conclusion(step: string, { code, message: reason }: SagaFailure) {
  return { type: 'conclude-cancellation', reason, ...(code === 'cancelled' ? {} : { step, code }) } as const;
}
