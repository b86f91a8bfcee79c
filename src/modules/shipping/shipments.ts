import { Injectable } from '@nestjs/common';
import { QueryBus } from '@nestjs/cqrs';
import { InjectRepository } from '@nestjs/typeorm';
import { type EntityManager, Repository } from 'typeorm';
import { callsTo, Config } from '../../config/config';
import { listed } from '../../kernel/database/listed';
import { DomainError } from '../../kernel/domain-error';
import type { Announcement } from '../../kernel/event-store/announcement';
import type { EventOf } from '../../kernel/event-store/event';
import { ContentionError, VersionMismatch } from '../../kernel/event-store/errors';
import { EventStore } from '../../kernel/event-store/event-store';
import { type Listed, ListOrder, type SortValues } from '../../kernel/http/list-order';
import { deriveId } from '../../kernel/ids';
import { PersonalData } from '../../kernel/personal-data/personal-data';
import type { Sealed } from '../../kernel/personal-data/sealed';
import { type CallPolicy, Resilience } from '../../kernel/resilience/policies';
import { Carrier } from './carrier';
import type { PostalAddress, ShipmentLine } from './contracts/create-shipment';
import { DecideDispatch } from './contracts/decide-dispatch';
import type {
  ShipmentCancelled,
  ShipmentCreated,
  ShipmentDelivered,
  ShipmentDispatched,
} from './contracts/shipment-events';
import { Shipment } from './shipment.entity';

type ShipmentEvent =
  | EventOf<'shipment.created', ShipmentCreated>
  | EventOf<'shipment.dispatched', ShipmentDispatched>
  | EventOf<'shipment.delivered', ShipmentDelivered>
  | EventOf<'shipment.cancelled', ShipmentCancelled>;

/** How often an order may change under a dispatch that is being decided. */
const attempts = 10;

/** Newest first. */
export const shipmentOrder = new ListOrder(
  'shipments',
  [
    ['s.created_at', 'instant'],
    ['s.id', 'uuid'],
  ],
  'desc',
);

/** One shipment an order, so that two parcels can never leave for the same one. */
const shipmentIdOf = (orderId: string): string => deriveId(orderId, 'shipment');

/** Parcels: rows, changed together with the event that says so. */
@Injectable()
export class Shipments {
  private readonly policy: CallPolicy;

  constructor(
    @InjectRepository(Shipment) private readonly shipments: Repository<Shipment>,
    private readonly events: EventStore,
    private readonly carrier: Carrier,
    private readonly personalData: PersonalData,
    private readonly queries: QueryBus,
    config: Config,
    resilience: Resilience,
  ) {
    this.policy = resilience.policy('carrier', { ...callsTo('CARRIER', config), maxQueued: 512 });
  }

  async get(id: string): Promise<Shipment> {
    const shipment = await this.shipments.findOneBy({ id });
    if (!shipment) throw unknownShipment(id);
    return shipment;
  }

  /** Newest first, `limit` of them behind the sort values `after`. */
  async list(
    filter: { orderId?: string; status?: readonly Shipment['status'][] },
    limit: number,
    after: SortValues | null,
  ): Promise<Listed<Shipment>[]> {
    const query = this.shipments.createQueryBuilder('s').addSelect(shipmentOrder.sortValues, 'cursor');
    query.orderBy('s.createdAt', 'DESC').addOrderBy('s.id', 'DESC').limit(limit);
    query.where(shipmentOrder.beyond(':after'), { after });
    if (filter.orderId) query.andWhere('s.orderId = :orderId', { orderId: filter.orderId });
    if (filter.status) query.andWhere('s.status in (:...status)', { status: filter.status });
    return listed(query);
  }

  /** See `CreateShipment`. */
  async create(orderId: string, address: Sealed<PostalAddress>, lines: readonly ShipmentLine[]) {
    const id = shipmentIdOf(orderId);
    const to = await this.personalData.open(address);
    if (!to) {
      // A first try may have gone further than its answer did.
      const first = await this.shipments.findOneBy({ id });
      if (first?.trackingNumber && first.status !== 'cancelled') {
        return { shipmentId: id, trackingNumber: first.trackingNumber };
      }
      await this.cancel(orderId);
      throw new DomainError('conflict', 'address-erased', 'Whoever lived there has been erased.');
    }
    // Outside of any transaction: a slow carrier must not hold locks. The key makes a repeat harmless.
    const booking = await this.policy.execute(({ signal }) => this.carrier.book(id, to, signal));
    if (booking.outcome === 'refused') throw new DomainError('conflict', 'shipment-refused', booking.reason);
    const { trackingNumber } = booking;
    const { status } = await this.events.transaction<Pick<Shipment, 'status'>>(async (manager) => {
      const row = { id, orderId, status: 'created' as const, address, lines: [...lines], trackingNumber, version: 1 };
      const inserted = await manager.createQueryBuilder().insert().into(Shipment).values(row).orIgnore().execute();
      if ((inserted.raw as unknown[]).length === 0) return { result: await lock(manager, id), announce: [] };
      const event: ShipmentEvent = { type: 'shipment.created', shipmentId: id, orderId, trackingNumber };
      return { result: row, announce: [announce(id, event)] };
    });
    if (status === 'cancelled') {
      await this.policy.execute(({ signal }) => this.carrier.cancel(id, signal));
      throw new DomainError('conflict', 'shipment-cancelled', 'This shipment was called off before it was booked.');
    }
    return { shipmentId: id, trackingNumber };
  }

  /** See `CancelShipment`. What was never booked is marked as cancelled, so that a late command cannot book it. */
  async cancel(orderId: string): Promise<void> {
    const id = shipmentIdOf(orderId);
    const atCarrier = () => this.policy.execute(({ signal }) => this.carrier.cancel(id, signal));
    const isBooked = (await this.shipments.findOneBy({ id }))?.status === 'created';
    // The carrier first: until it has agreed, the parcel may leave, and the cancellation be rejected.
    if (isBooked) await atCarrier();
    await this.events.transaction(async (manager) => {
      const tombstone = { id, orderId, status: 'cancelled' as const, address: null, lines: [], version: 1 };
      await manager.createQueryBuilder().insert().into(Shipment).values(tombstone).orIgnore().execute();
      const shipment = await lock(manager, id);
      if (shipment.status === 'cancelled') return { result: undefined, announce: [] };
      if (shipment.status !== 'created') {
        throw new DomainError('conflict', 'shipment-dispatched', `The parcel of order ${orderId} has left already.`);
      }
      await manager.update(Shipment, id, { status: 'cancelled', version: shipment.version + 1 });
      const event: ShipmentEvent = { type: 'shipment.cancelled', shipmentId: id, orderId };
      return { result: undefined, announce: [announce(id, event)] };
    });
    if (!isBooked) await atCarrier();
  }

  /**
   * The parcel leaves, if its order is to be carried out; or has left, by the carrier's own word, which comes before a
   * cancellation that is not concluded. Saying so again changes nothing.
   *
   * @throws DomainError `order-cancelling`, `order-cancelled`, `shipment-cancelled`, `shipment-delivered` (conflict)
   */
  async dispatch(id: string, hasLeft: boolean): Promise<Shipment> {
    for (let attempt = 1; ; attempt++) {
      const { status, orderId } = await this.get(id);
      const ofOrder =
        status === 'created' ? await this.queries.execute(new DecideDispatch(orderId, id, hasLeft)) : undefined;
      try {
        return await this.move(id, 'created', 'dispatched', { dispatchedAt: new Date() }, ofOrder);
      } catch (error) {
        // the order has moved on since: what it says now counts
        if (!(error instanceof VersionMismatch)) throw error;
        if (attempt === attempts) throw new ContentionError(`Order ${orderId} changes too often. Try again shortly.`);
      }
    }
  }

  /** The customer has the parcel. Saying so again changes nothing. */
  deliver(id: string): Promise<Shipment> {
    return this.move(id, 'dispatched', 'delivered', { deliveredAt: new Date() });
  }

  private async move(
    id: string,
    from: Shipment['status'],
    to: 'dispatched' | 'delivered',
    stamp: Partial<Shipment>,
    ofOrder?: Announcement,
  ): Promise<Shipment> {
    return this.events.transaction(async (manager) => {
      const shipment = await lock(manager, id);
      if (shipment.status === to) return { result: shipment, announce: [] };
      if (shipment.status !== from) {
        const allowedActions = { created: ['dispatch'], dispatched: ['deliver'], delivered: [], cancelled: [] }[
          shipment.status
        ];
        const message = `The shipment is ${shipment.status}; only one that is ${from} can become ${to}.`;
        throw new DomainError('conflict', `shipment-${shipment.status}`, message, { allowedActions });
      }
      Object.assign(shipment, stamp, { status: to, version: shipment.version + 1 });
      await manager.save(shipment);
      const event: ShipmentEvent = { type: `shipment.${to}`, shipmentId: id, orderId: shipment.orderId };
      return { result: shipment, announce: [announce(id, event), ...(ofOrder ? [ofOrder] : [])] };
    });
  }
}

function announce(id: string, event: ShipmentEvent) {
  return { aggregate: { type: 'shipment', id }, events: [event] };
}

async function lock(manager: EntityManager, id: string): Promise<Shipment> {
  const shipment = await manager.findOne(Shipment, { where: { id }, lock: { mode: 'pessimistic_write' } });
  if (!shipment) throw unknownShipment(id);
  return shipment;
}

function unknownShipment(id: string): DomainError {
  return new DomainError('not-found', 'shipment-unknown', `There is no shipment ${id}.`);
}
