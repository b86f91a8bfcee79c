import { unknownCountry } from './countries';
import type { Address, Target } from './formats/format';
import { Scratch } from './scratch';
import type { PricedLine } from './settle';

/** An order that can be imported. Its lines are read when it is sent: {@link History.linesOf}. */
export interface Invoice {
  readonly reference: string;
  /** RFC 3339, UTC. */
  readonly orderedAt: string;
  /** None: a guest. */
  readonly customerId?: string;
  readonly address: Address;
  readonly countryCode: string;
  readonly target: Target;
  readonly lineCount: number;
  readonly totalMinor: number;
}

/** Sold at least once. Codes differ by case: 85123a is not 85123A. */
export interface Goods {
  /** See `skuKey`. */
  readonly sku: string;
  /** As it stands in the file first. */
  readonly spelled: string;
  /** The first description that is not empty. */
  readonly name: string;
  /** The first price; the lines keep their own. */
  readonly priceMinor: number;
}

export interface Customer {
  readonly id: string;
  readonly email?: string;
  readonly name: string;
}

/** A line of the report: something in the file that was not imported, or not as it stands there. */
export interface Remark {
  /** Of the file, counted from 1. */
  readonly line?: number;
  readonly reference?: string;
  readonly sku?: string;
  readonly quantity?: number;
  readonly unitPrice?: string;
  readonly reason: string;
}

export interface Totals {
  readonly lines: number;
  readonly invoices: number;
  readonly orders: number;
  readonly orderLines: number;
  readonly totalMinor: number;
  readonly products: number;
  readonly customers: number;
  readonly guests: number;
  /** To be imported, but not delivered yet. */
  readonly open: number;
  /** Invoices of which nothing but returns is in the file; `totalMinor` is negative. */
  readonly creditNotes: { readonly count: number; readonly totalMinor: number };
  /** Invoices of which no line can be sold. */
  readonly unsellable: number;
  /** Orders that are not imported, by the reason. */
  readonly leftOut: readonly { readonly reason: string; readonly orders: number; readonly totalMinor: number }[];
  /** Single lines that are not imported, by the reason. */
  readonly dropped: readonly { readonly reason: string; readonly lines: number }[];
  /** Orders imported with less than was charged, by refunds. */
  readonly refunded: { readonly orders: number; readonly totalMinor: number };
  readonly unknownCountries: readonly { readonly name: string; readonly orders: number }[];
}

const schema = `
  create table orders (
    reference text primary key, line int not null, at text not null, customer text, address text not null,
    country_code text not null, target text, left_out text, total_minor int, shipping_minor int, taxes_minor int,
    discount_minor int, refunded_minor int,
    -- of the lines that are imported
    line_count int not null default 0, sum_minor int not null default 0,
    -- on the server
    order_id text, done int not null default 0, failed int not null default 0, found int not null default 0, found_status text,
    found_lines int not null default 0, found_minor int not null default 0, paid_minor int not null default 0,
    delivered int not null default 0
  ) without rowid;
  create table lines (id integer primary key, reference text not null, line int not null, sku text not null,
    quantity int not null, price_minor int not null);
  create table names (sku text primary key, name text not null) without rowid;
  -- as it stands in the file first
  create table spellings (sku text primary key, spelled text not null) without rowid;
  create table products (sku text primary key, spelled text not null, name text not null, price_minor int not null, product_id text,
    checked int not null default 1) without rowid;
  create table customers (id text primary key, email text, name text not null, user_id text) without rowid;
  create table opened (sku text, reference text, quantity int not null, primary key (sku, reference)) without rowid;
  create table consumed (sku text, reference text, quantity int not null, primary key (sku, reference)) without rowid;
  create index orders_by_id on orders (order_id) where order_id is not null;
  create table accounts (email text primary key, id text not null) without rowid;
  create table remarks (id integer primary key, line int, reference text, sku text, quantity int, unit_price text,
    reason text not null, minor int, kind text not null);
  create index remarks_by_reference on remarks (reference);
`;

interface OrderRow {
  reference: string;
  at: string;
  customer: string | null;
  address: string;
  country_code: string;
  target: Target;
  line_count: number;
  sum_minor: number;
}

/**
 * What a file holds and what has become of it. It is kept in a temporary file: memory does not grow with the number of
 * orders.
 */
export class History {
  readonly scratch = new Scratch(schema);
  totals!: Totals;

  /** In the order in which they were ordered. */
  *orders(): Generator<Invoice> {
    const rows = this.scratch.pages<OrderRow>(
      `select reference, at, customer, address, country_code, target, line_count, sum_minor from orders
       where line_count > 0 and (at, reference) > (?, ?) order by at, reference limit ?`,
      ['', ''],
      ({ at, reference }) => [at, reference],
    );
    for (const row of rows) yield invoiceOf(row);
  }

  linesOf(reference: string): PricedLine[] {
    return this.scratch.all<PricedLine>(
      'select sku, quantity, price_minor as unitPriceMinor from lines where reference = ? order by id',
      reference,
    );
  }

  *products(): Generator<Goods> {
    yield* this.scratch.pages<Goods>(
      'select sku, spelled, name, price_minor as priceMinor from products where sku > ? order by sku limit ?',
      [''],
      ({ sku }) => [sku],
    );
  }

  /** Codes of those whose stock nobody but imports has changed. */
  *checkedProducts(): Generator<string> {
    const rows = this.scratch.pages<{ sku: string }>(
      'select sku from products where checked = 1 and product_id is not null and sku > ? order by sku limit ?',
      [''],
      ({ sku }) => [sku],
    );
    for (const { sku } of rows) yield sku;
  }

  *customers(): Generator<Customer> {
    const rows = this.scratch.pages<{ id: string; email: string | null; name: string }>(
      'select id, email, name from customers where id > ? order by id limit ?',
      [''],
      ({ id }) => [id],
    );
    for (const { id, email, name } of rows) yield { id, email: email ?? undefined, name };
  }

  *remarks(): Generator<Remark> {
    const rows = this.scratch.pages<Remark & { id: number }>(
      `select id, line, reference, sku, quantity, unit_price as unitPrice, reason from remarks
       where id > ? order by id limit ?`,
      [0],
      ({ id }) => [id],
    );
    yield* rows;
  }

  /** `dropped`: a line that is no part of an order that is imported. `minor`: its amount. */
  remark(remark: Remark, kind: 'dropped' | 'note' = 'note', minor: number | null = null): void {
    const { line, reference, sku, quantity, unitPrice, reason } = remark;
    this.scratch.run(
      `insert into remarks (line, reference, sku, quantity, unit_price, reason, minor, kind)
       values (?, ?, ?, ?, ?, ?, ?, ?)`,
      ...[line ?? null, reference ?? null, sku ?? null, quantity ?? null, unitPrice ?? null, reason, minor, kind],
    );
  }

  userIdOf(customerId: string): string | undefined {
    return (
      this.scratch.get<{ user_id: string | null }>('select user_id from customers where id = ?', customerId)?.user_id ??
      undefined
    );
  }

  productIdOf(sku: string): string | undefined {
    return (
      this.scratch.get<{ product_id: string | null }>('select product_id from products where sku = ?', sku)
        ?.product_id ?? undefined
    );
  }

  close(): void {
    this.scratch.close();
  }
}

export function invoiceOf(row: OrderRow): Invoice {
  const { reference, at, customer, address, country_code: countryCode, target, line_count, sum_minor } = row;
  return {
    reference,
    orderedAt: at,
    customerId: customer ?? undefined,
    address: JSON.parse(address) as Address,
    countryCode,
    target,
    lineCount: line_count,
    totalMinor: sum_minor,
  };
}

/** Once all lines have been read. */
export function summarise(scratch: Scratch, lines: number): Totals {
  const one = <Row>(sql: string, ...values: string[]) => scratch.get<Row>(sql, ...values)!;
  const sums = one<
    Omit<Totals, 'creditNotes' | 'unsellable' | 'leftOut' | 'dropped' | 'refunded' | 'unknownCountries'>
  >(
    `select ${lines} as lines, count(*) as invoices, coalesce(sum(line_count > 0), 0) as orders,
       coalesce(sum(line_count), 0) as orderLines, coalesce(sum(sum_minor), 0) as totalMinor,
       (select count(*) from products) as products, (select count(*) from customers) as customers,
       coalesce(sum(line_count > 0 and customer is null), 0) as guests,
       coalesce(sum(line_count > 0 and target = 'fulfilling'), 0) as open
     from orders`,
  );
  const returned = `exists (select 1 from remarks r where r.reference = o.reference and r.reason = '${creditNote}')`;
  const nothing = 'line_count = 0 and left_out is null';
  return {
    ...sums,
    creditNotes: {
      count: one<{ n: number }>(`select count(*) as n from orders o where ${nothing} and ${returned}`).n,
      totalMinor: one<{ n: number }>('select coalesce(sum(minor), 0) as n from remarks where reason = ?', creditNote).n,
    },
    unsellable: one<{ n: number }>(`select count(*) as n from orders o where ${nothing} and not ${returned}`).n,
    leftOut: scratch.all(
      `select left_out as reason, count(*) as orders, sum(total_minor) as totalMinor from orders
       where left_out is not null group by 1 order by 2 desc`,
    ),
    dropped: scratch.all(
      `select reason, count(*) as lines from remarks where kind = 'dropped' group by 1 order by 2 desc`,
    ),
    refunded: one(
      `select count(*) as orders, coalesce(sum(refunded_minor), 0) as totalMinor from orders
       where line_count > 0 and refunded_minor > 0`,
    ),
    unknownCountries: scratch.all(
      `select json_extract(address, '$.country') as name, count(*) as orders from orders
       where line_count > 0 and country_code = ? group by 1 order by 2 desc`,
      unknownCountry,
    ),
  };
}

export const creditNote = 'credit note';
