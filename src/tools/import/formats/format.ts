import type { Cells } from '../cells';

/** Where an order ends that is imported. */
export type Target = 'completed' | 'fulfilling';

export interface Address {
  readonly name: string;
  readonly line1: string;
  readonly line2?: string;
  readonly postalCode?: string;
  readonly city: string;
  /** As the file has it: a name or a code. */
  readonly country: string;
}

/** What a file says about the money of a whole order, in integer minor units. */
export interface Amounts {
  readonly total: number;
  readonly shipping: number;
  readonly taxes: number;
  readonly discount: number;
  readonly refunded: number;
}

/** What the first row of an order says about all of it. */
export interface OrderHead {
  /** RFC 3339, UTC. */
  readonly orderedAt: string;
  /** None: a guest. */
  readonly customer?: { readonly id: string; readonly email?: string; readonly name: string };
  readonly address: Address;
  /** Where the order ends, or why it is not imported. */
  readonly fate: { readonly target: Target } | { readonly leftOut: string };
  /** None: the lines are all there is. */
  readonly amounts?: Amounts;
}

export interface GoodsOnRow {
  /** The product's code; empty when the row has none. */
  readonly sku: string;
  readonly name: string;
  readonly quantity: number;
  readonly unitPriceMinor: number | 'too-fine';
  /** As the file has it. */
  readonly unitPrice: string;
}

export interface OrderRow {
  /** The number of the order: the same in every export of the shop. */
  readonly reference: string;
  /** None on a row that only adds goods to an order. */
  readonly head?: OrderHead;
  readonly goods?: GoodsOnRow;
}

/** How the files of one product are to be read. */
export interface Format {
  /** Of `--format`. */
  readonly name: string;
  /** By the name that `--columns` knows them by: further names by which they are found, in any case. */
  readonly columns: Readonly<Record<string, readonly string[]>>;
  /** Columns that a file may lack. */
  readonly optional: readonly string[];
  /** How dates are written; empty: RFC 3339. */
  readonly dateFormats: readonly string[];
  /** Whether only the first row of an order says what concerns all of it. */
  readonly headOnce: boolean;
  /** Whether goods for nothing are sales. */
  readonly freeGoods: boolean;
  /** @returns undefined when the row makes no sense; `cells` has been told why */
  read(cells: Cells): OrderRow | undefined;
}
