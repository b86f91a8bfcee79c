/**
 * A log of orders as SQL, the same for every contender: five events an order, a hundred orders interleaved at a time.
 * Columns: n (1, 2, 3 …), id (uuid), version, type, data.
 */
export function orderLog(events: number): string {
  return `
    select n, ('00000000-0000-7000-a000-' || lpad(to_hex(o.nth), 12, '0'))::uuid as id, o.step + 1 as version,
           (array['order.created', 'order.line-added', 'order.line-added', 'order.submitted', 'order.paid'])[o.step + 1] as type,
           case o.step
             when 0 then jsonb_build_object('customerId', '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111', 'currency', 'GBP',
               'reference', 'ref-' || o.nth, 'shippingAddress', jsonb_build_object('name', 'Ada Lovelace',
               'line1', '12 St James''s Square', 'city', 'London', 'countryCode', 'GB'))
             when 1 then jsonb_build_object('lineId', '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c112', 'name', 'Assorted colour bird ornament',
               'productId', '00000000-0000-7000-8000-000000000001', 'quantity', o.nth % 12 + 1,
               'unitPrice', jsonb_build_object('currency', 'GBP', 'amountMinor', 169 + o.nth % 100))
             when 2 then jsonb_build_object('lineId', '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c113', 'name', 'Doormat, union flag',
               'productId', '00000000-0000-7000-8000-000000000002', 'quantity', o.nth % 12 + 1,
               'unitPrice', jsonb_build_object('currency', 'GBP', 'amountMinor', 169 + o.nth % 100))
             when 3 then jsonb_build_object('totalMinor', 2 * (o.nth % 12 + 1) * (169 + o.nth % 100), 'paymentMethod', 'sandbox_ok')
             else jsonb_build_object('paymentId', '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c114', 'currency', 'GBP',
               'amountMinor', 2 * (o.nth % 12 + 1) * (169 + o.nth % 100))
           end as data
    from generate_series(1, ${events}) n,
         lateral (select ((n - 1) / 500) * 100 + (n - 1) % 100 as nth, ((n - 1) % 500) / 100 as step) o`;
}

/**
 * Puts it into the product's log, directly: a precondition of what is measured, not part of it. The indices are made
 * anew behind it, which is quicker by far.
 */
export function fillLog(events: number): string {
  return `
    alter table event_store.events disable trigger user,
      drop constraint events_pkey, drop constraint events_event_id_key, drop constraint events_aggregate_id_version_key;
    insert into event_store.events
      select (select coalesce(max(position), 0) from event_store.events) + l.n,
             ('00000000-0000-7000-9000-' || lpad(to_hex(l.n), 12, '0'))::uuid, l.id, 'order', l.version, l.type, 1, l.data,
             jsonb_build_object('actor', 'system', 'commandId', l.id, 'correlationId', l.id), clock_timestamp()
      from (${orderLog(events)}) l order by l.n;
    alter table event_store.events enable trigger user,
      add primary key (position), add unique (event_id), add unique (aggregate_id, version);`;
}

/** What every contender's view is looked at for after a round. */
export interface ViewOfOrders {
  readonly paid: number;
  /** Sum over all orders. */
  readonly totalMinor: number;
}

/** @param events a multiple of 500 */
export function expectedView(events: number): ViewOfOrders {
  let totalMinor = 0;
  for (let nth = 0; nth < events / 5; nth++) totalMinor += 2 * ((nth % 12) + 1) * (169 + (nth % 100));
  return { paid: events / 5, totalMinor };
}

/** A row of the view: what a list of orders shows. */
export interface OrderRow {
  id: string;
  customerId: string;
  reference: string;
  status: string;
  lineCount: number;
  totalMinor: number;
  currency: string;
  version: number;
}
