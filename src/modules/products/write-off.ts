import type { EntityManager } from 'typeorm';
import { DomainError } from '../../kernel/domain-error';
import { deriveId } from '../../kernel/ids';

/** How many of a product an order holds that are not to be written off already. */
interface Holder {
  readonly reservationId: string;
  readonly orderId: string;
  readonly quantity: number;
}

/** What one order loses. */
export type Share = Holder;

/** A refusal names as many orders as a response has entries in a list. */
const maxNamed = 20;

const holders = `
  select r.id as "reservationId", r.order_id as "orderId", l.quantity - coalesce(w.quantity, 0) as quantity
  from products.reservations r
  join products.reservation_lines l on l.reservation_id = r.id and l.product_id = $1
  left join lateral (
    select sum(quantity)::int as quantity from products.write_offs
    where reservation_id = r.id and product_id = l.product_id
  ) w on true
  where r.status = 'active' and l.quantity > coalesce(w.quantity, 0)`;

/**
 * Who gives up how many so that `missing` reserved ones can be written off: the orders in turn, each as many as it holds,
 * until it is enough. The product is locked, and a reservation that ends meanwhile waits for that: it finds the share.
 *
 * @throws DomainError `stock-reserved`; `orders` and `orderCount` say who holds them
 */
export async function sharesOf(
  manager: EntityManager,
  product: { readonly id: string; readonly onHand: number; readonly reserved: number },
  missing: number,
  orderIds: readonly string[],
): Promise<Share[]> {
  const named = await manager.query<Holder[]>(
    `${holders} and r.order_id = any($2::uuid[]) order by array_position($2::uuid[], r.order_id), r.id`,
    [product.id, orderIds],
  );
  const shares: Share[] = [];
  let open = missing;
  for (const holder of named) {
    if (open === 0) break;
    const quantity = Math.min(holder.quantity, open);
    shares.push({ ...holder, quantity });
    open -= quantity;
  }
  if (open === 0) return shares;
  const all = await manager.query<(Holder & { count: number })[]>(
    `select h.*, count(*) over ()::int as count from (${holders}) h
     join products.reservations r on r.id = h."reservationId" order by r.created_at desc, r.id limit $2`,
    [product.id, maxNamed],
  );
  const orders = all.map(({ orderId, quantity }) => ({ orderId, quantity }));
  const why =
    all.length === 0
      ? 'All of them are written off already, and leave as their orders are cancelled.'
      : orderIds.length === 0
        ? 'Name in takeFromOrders the orders that shall lose theirs: they are cancelled.'
        : `The orders in takeFromOrders hold ${missing - open} of them: name others too.`;
  throw new DomainError(
    'conflict',
    'stock-reserved',
    `${product.onHand} are on hand and ${product.reserved} of them reserved, so ${missing} would be taken from orders. ${why}`,
    { orders, orderCount: all[0]?.count ?? 0 },
  );
}

/** They stay on hand and reserved until their reservation ends, so that nobody else can order them. */
export async function withdraw(
  manager: EntityManager,
  adjustmentId: string,
  productId: string,
  reason: string,
  shares: readonly Share[],
): Promise<void> {
  const ids = shares.map(({ reservationId }) => deriveId(adjustmentId, reservationId));
  const quantities = shares.map(({ quantity }) => quantity);
  await manager.query(
    `insert into products.write_offs (id, adjustment_id, reservation_id, product_id, quantity, reason)
     select s.id, $1, s.reservation_id, $2, s.quantity, $3
     from unnest($4::uuid[], $5::uuid[], $6::int[]) as s (id, reservation_id, quantity)`,
    [adjustmentId, productId, reason, ids, shares.map(({ reservationId }) => reservationId), quantities],
  );
  await manager.query('update products.products set withdrawn = withdrawn + $2 where id = $1', [
    productId,
    quantities.reduce((sum, quantity) => sum + quantity, 0),
  ]);
}
