import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { DomainError } from '../../kernel/domain-error';
import type { Announcement } from '../../kernel/event-store/announcement';
import { DuplicateCommandError, VersionMismatch } from '../../kernel/event-store/errors';
import type { EventOf } from '../../kernel/event-store/event';
import { EventStore } from '../../kernel/event-store/event-store';
import { idOf } from '../../kernel/ids';
import type { ReservationLine } from './contracts/reserve-inventory';
import type {
  StockCommitted,
  StockReleased,
  StockReserved,
  StockWithdrawalLapsed,
  StockWithdrawn,
} from './contracts/stock-events';
import { sharesOf, withdraw } from './write-off';

type StockEvent =
  | EventOf<'stock.adjusted', { productId: string; sku: string; delta: number; onHand: number; reason: string }>
  | EventOf<'stock.reserved', StockReserved>
  | EventOf<'stock.released', StockReleased>
  | EventOf<'stock.withdrawn', StockWithdrawn>
  | EventOf<'stock.withdrawal-lapsed', StockWithdrawalLapsed>
  | EventOf<'stock.committed', StockCommitted>;

interface AdjustOptions {
  readonly expectedVersion?: number;
  /** Who loses what is reserved, if it takes that, in this order. */
  readonly takeFromOrders?: readonly string[];
}

/** What an adjustment wrote into the ledger, or will. */
interface Movement {
  readonly product_id: string;
  readonly on_hand_delta: number;
  readonly reason: string;
}

function assertSameAdjustment(id: string, done: Movement, wanted: Movement): void {
  const describe = ({ product_id, on_hand_delta, reason }: Movement) => `${on_hand_delta} of ${product_id} (${reason})`;
  if (describe(done) !== describe(wanted)) throw new DuplicateCommandError(id, describe(done), describe(wanted));
}

/** What is in the house and for whom. Every change of a counter is a row of the ledger, in the same transaction. */
@Injectable()
export class Stock {
  constructor(private readonly events: EventStore) {}

  /**
   * Adds to what is on hand, or takes away. `id` names the adjustment: a repeat changes nothing.
   *
   * What is reserved can be taken from `takeFromOrders` only. Those whose goods it takes are cancelled; until then the goods
   * stay on the books. Of an order that has been shipped by then nothing is taken.
   *
   * @param expectedVersion of the stock
   * @throws DomainError `stock-reserved` when less would be left than is reserved; `stock-too-small`, `stock-too-large`
   *   (conflict); `nothing-to-take` (invalid)
   * @throws DuplicateCommandError when the id names another adjustment
   */
  async adjust(
    id: string,
    productId: string,
    delta: number,
    reason: string,
    { expectedVersion, takeFromOrders = [] }: AdjustOptions = {},
  ): Promise<void> {
    if (takeFromOrders.length > 0 && delta >= 0) {
      throw new DomainError('invalid', 'nothing-to-take', 'takeFromOrders is for a negative delta only.');
    }
    await this.events.transaction(async (manager) => {
      const product = await lockProduct(manager, productId);
      const known = await movementOf(manager, id);
      if (known) {
        assertSameAdjustment(id, known, { product_id: productId, on_hand_delta: delta, reason });
        return { result: undefined, announce: [] };
      }
      if (expectedVersion !== undefined && expectedVersion !== product.stock_version) {
        throw new VersionMismatch(expectedVersion, product.stock_version);
      }
      const { sku, on_hand, reserved } = product;
      if (on_hand + delta > 2_147_483_647) {
        throw new DomainError(
          'conflict',
          'stock-too-large',
          `${on_hand} are on hand: ${delta} more cannot be counted.`,
        );
      }
      if (on_hand + delta < 0) {
        throw new DomainError('conflict', 'stock-too-small', `${on_hand} are on hand: ${-delta} cannot be taken away.`);
      }
      const missing = Math.max(0, reserved - (on_hand + delta));
      const shares =
        missing > 0
          ? await sharesOf(manager, { id: productId, onHand: on_hand, reserved }, missing, takeFromOrders)
          : [];
      const announced: Announcement[] = [];
      const atOnce = delta + missing;
      if (atOnce !== 0 || missing === 0) {
        const onHand = on_hand + atOnce;
        await manager.query('update products.products set on_hand = $2 where id = $1', [productId, onHand]);
        await manager.query(
          `insert into products.stock_movements (product_id, kind, on_hand_delta, reserved_delta, reference, reason)
           values ($1, 'adjusted', $2, 0, $3, $4)`,
          [productId, atOnce, id, reason],
        );
        announced.push(adjusted(productId, { sku, delta: atOnce, onHand, reason }));
      }
      if (shares.length > 0) await withdraw(manager, id, productId, reason, shares);
      for (const share of shares) {
        const event: StockEvent = { type: 'stock.withdrawn', ...share, productId, sku, reason };
        announced.push(announce({ type: 'reservation', id: share.reservationId }, event));
      }
      return { result: undefined, announce: announced };
    });
  }

  /** See `ReserveInventory`. */
  async reserve(
    key: string,
    orderId: string,
    requested: readonly ReservationLine[],
  ): Promise<{ reservationId: string }> {
    const reservationId = idOf(key);
    const lines = sumByProduct(requested);
    await this.events.transaction(async (manager) => {
      const begun = await manager.query<unknown[]>(
        `insert into products.reservations (id, order_id, status) values ($1, $2, 'active')
         on conflict (id) do nothing returning id`,
        [reservationId, orderId],
      );
      if (begun.length === 0) {
        await assertNotReleased(manager, reservationId);
        return { result: undefined, announce: [] };
      }
      const ids = lines.map((line) => line.productId);
      const quantities = lines.map((line) => line.quantity);
      await lockInOrder(manager, ids);
      const [reserved] = await manager.query<[{ id: string }[], number]>(
        `update products.products p set reserved = p.reserved + l.quantity
         from unnest($1::uuid[], $2::int[]) as l (product_id, quantity)
         where p.id = l.product_id and p.status = 'active' and p.available >= l.quantity returning p.id`,
        [ids, quantities],
      );
      if (reserved.length < lines.length) {
        const taken = new Set(reserved.map((row) => row.id));
        throw await shortage(
          manager,
          lines.filter((line) => !taken.has(line.productId)),
        );
      }
      await manager.query(
        `with lines as (
           insert into products.reservation_lines (reservation_id, product_id, quantity)
           select $1, l.product_id, l.quantity from unnest($2::uuid[], $3::int[]) as l (product_id, quantity)
           returning product_id, quantity)
         insert into products.stock_movements (product_id, kind, on_hand_delta, reserved_delta, reference)
         select product_id, 'reserved', 0, quantity, $1 from lines`,
        [reservationId, ids, quantities],
      );
      const event = { type: 'stock.reserved', reservationId, orderId, lines } as const;
      return { result: undefined, announce: [announce({ type: 'reservation', id: reservationId }, event)] };
    });
    return { reservationId };
  }

  /** See `ReleaseInventory`. What was never reserved is marked as released, so that a late command cannot reserve it. */
  async release(key: string, orderId: string): Promise<void> {
    const reservationId = idOf(key);
    await this.events.transaction(async (manager) => {
      await manager.query(
        `insert into products.reservations (id, order_id, status, ended_at) values ($1, $2, 'released', now())
         on conflict (id) do nothing`,
        [reservationId, orderId],
      );
      return { result: undefined, announce: await end(manager, reservationId, orderId, 'released') };
    });
  }

  /** The goods of an order leave the house, or go back on the shelf: whatever is still reserved for it. */
  async endAllOf(orderId: string, how: 'committed' | 'released'): Promise<void> {
    await this.events.transaction(async (manager) => {
      const active = await manager.query<{ id: string }[]>(
        `select id from products.reservations where order_id = $1 and status = 'active' order by id`,
        [orderId],
      );
      const announced: Announcement[] = [];
      for (const { id } of active) announced.push(...(await end(manager, id, orderId, how)));
      return { result: undefined, announce: announced };
    });
  }
}

/** Ends a reservation once; nothing happens when it has ended already. */
async function end(
  manager: EntityManager,
  reservationId: string,
  orderId: string,
  how: 'committed' | 'released',
): Promise<Announcement[]> {
  const [ended] = await manager.query<[unknown[], number]>(
    `update products.reservations set status = $2, ended_at = now() where id = $1 and status = 'active' returning id`,
    [reservationId, how],
  );
  if (ended.length === 0) return [];
  const lines = await manager.query<{ product_id: string }[]>(
    'select product_id from products.reservation_lines where reservation_id = $1',
    [reservationId],
  );
  await lockInOrder(
    manager,
    lines.map((line) => line.product_id),
  );
  await manager.query(
    `with due as (
       select product_id, sum(quantity)::int as quantity from products.write_offs where reservation_id = $1
       group by product_id
     ), lines as (
       select l.product_id, l.quantity, coalesce(due.quantity, 0) as withdrawn,
              case when $2 = 'committed' then l.quantity else 0 end as shipped,
              case when $2 = 'committed' then 0 else coalesce(due.quantity, 0) end as written_off
       from products.reservation_lines l left join due using (product_id) where l.reservation_id = $1
     ), ledger as (
       insert into products.stock_movements (product_id, kind, on_hand_delta, reserved_delta, reference, reason)
       select product_id, $2, -shipped, -quantity, $1::uuid, null from lines
       union all
       select product_id, 'adjusted', -quantity, 0, id, reason from products.write_offs
       where reservation_id = $1 and $2 = 'released'
     )
     update products.products p
     set on_hand = p.on_hand - l.shipped - l.written_off, reserved = p.reserved - l.quantity,
         withdrawn = p.withdrawn - l.withdrawn
     from lines l where p.id = l.product_id`,
    [reservationId, how],
  );
  const event: StockEvent = { type: `stock.${how}`, reservationId, orderId };
  return [
    announce({ type: 'reservation', id: reservationId }, event),
    ...(await whatBecameOfWriteOffs(manager, reservationId, orderId, how)),
  ];
}

interface WriteOff {
  readonly productId: string;
  readonly sku: string;
  readonly quantity: number;
  readonly onHand: number;
  readonly reason: string;
}

async function whatBecameOfWriteOffs(
  manager: EntityManager,
  reservationId: string,
  orderId: string,
  how: 'committed' | 'released',
): Promise<Announcement[]> {
  const writeOffs = await manager.query<WriteOff[]>(
    `select w.product_id as "productId", p.sku, w.quantity, p.on_hand as "onHand", w.reason
     from products.write_offs w join products.products p on p.id = w.product_id
     where w.reservation_id = $1 order by w.id`,
    [reservationId],
  );
  return writeOffs.map(({ onHand, ...lost }) => {
    const { productId, sku, quantity, reason } = lost;
    return how === 'released'
      ? adjusted(productId, { sku, delta: -quantity, onHand, reason })
      : announce(
          { type: 'reservation', id: reservationId },
          { type: 'stock.withdrawal-lapsed', reservationId, orderId, ...lost },
        );
  });
}

function adjusted(
  productId: string,
  change: { sku: string; delta: number; onHand: number; reason: string },
): Announcement {
  return announce({ type: 'product', id: productId }, { type: 'stock.adjusted', productId, ...change });
}

/** What is known of an adjustment: what it did at once, and what it did or will do when orders are cancelled. */
async function movementOf(manager: EntityManager, id: string): Promise<Movement | undefined> {
  const [known] = await manager.query<Movement[]>(
    `select product_id, sum(delta)::int as on_hand_delta, reason from (
       select product_id, on_hand_delta as delta, reason from products.stock_movements where reference = $1
       union all
       select product_id, -quantity, reason from products.write_offs where adjustment_id = $1
     ) parts group by product_id, reason`,
    [id],
  );
  return known;
}

function announce(aggregate: Announcement['aggregate'], event: StockEvent): Announcement {
  return { aggregate, events: [event] };
}

/** Two orders of the same goods, listed the other way round, must not wait for each other. */
async function lockInOrder(manager: EntityManager, productIds: readonly string[]): Promise<void> {
  await manager.query('select id from products.products where id = any($1) order by id for update', [productIds]);
}

async function lockProduct(manager: EntityManager, id: string) {
  const [product] = await manager.query<{ sku: string; on_hand: number; reserved: number; stock_version: number }[]>(
    'select sku, on_hand, reserved, stock_version from products.products where id = $1 for update',
    [id],
  );
  if (!product) throw new DomainError('not-found', 'product-unknown', `There is no product ${id}.`);
  return product;
}

async function assertNotReleased(manager: EntityManager, reservationId: string): Promise<void> {
  const [row] = await manager.query<{ status: string }[]>('select status from products.reservations where id = $1', [
    reservationId,
  ]);
  if (row?.status !== 'released') return;
  throw new DomainError('conflict', 'reservation-released', 'This reservation has been given back already.');
}

async function shortage(manager: EntityManager, lines: readonly ReservationLine[]): Promise<DomainError> {
  const short = await manager.query<{ sku: string | null; requested: number; available: number }[]>(
    `select l.product_id as "productId", p.sku, l.quantity as requested,
            case when p.status = 'active' then p.available else 0 end as available
     from unnest($1::uuid[], $2::int[]) as l (product_id, quantity)
     left join products.products p on p.id = l.product_id`,
    [lines.map((line) => line.productId), lines.map((line) => line.quantity)],
  );
  const list = short.map((line) => `${line.sku ?? 'unknown'} (${line.requested} wanted, ${line.available} available)`);
  return new DomainError('conflict', 'out-of-stock', `Not enough in stock: ${list.join(', ')}.`, { short });
}

function sumByProduct(lines: readonly ReservationLine[]): ReservationLine[] {
  const sums = new Map<string, number>();
  for (const { productId, quantity } of lines) sums.set(productId, (sums.get(productId) ?? 0) + quantity);
  return [...sums]
    .map(([productId, quantity]) => ({ productId, quantity }))
    .sort((a, b) => (a.productId < b.productId ? -1 : 1));
}
