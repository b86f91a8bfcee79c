import { DomainError } from '../../../kernel/domain-error';

/** Amounts are integer minor units of the order's one currency. */
export interface Line {
  readonly lineId: string;
  readonly productId: string;
  readonly sku: string;
  readonly name: string;
  readonly quantity: number;
  readonly unitPriceMinor: number;
  /** Staff stated the price, for this quantity: the catalogue's does not replace it. */
  readonly priceAgreed?: true;
}

/** What the catalogue says of a product at the moment of asking. */
export interface Offer {
  readonly sku: string;
  readonly name: string;
  readonly unitPriceMinor: number;
  readonly currency: string;
  /** How many can be had; 0 of a product that is not sold any more. */
  readonly available: number;
}

/** By product id. */
export type Offers = ReadonlyMap<string, Offer>;

export interface Priced {
  readonly lines: readonly Line[];
  readonly currency: string;
  /** Set if the lines are not all in one currency: one that differs from the first line's. */
  readonly otherCurrency?: string;
}

export interface PriceMove {
  readonly lineId: string;
  readonly previousMinor: number;
  readonly unitPriceMinor: number;
}

export function totalMinor(lines: readonly Line[]): number {
  return lines.reduce((sum, line) => sum + line.quantity * line.unitPriceMinor, 0);
}

/** The lines at what their products cost now. `currency` is the draft's, in which prices that staff agreed to are. */
export function priced(lines: readonly Line[], currency: string, offers: Offers): Priced {
  const prices = lines.map((line) => {
    const offer = line.priceAgreed ? undefined : offers.get(line.productId);
    return offer ?? { unitPriceMinor: line.unitPriceMinor, currency };
  });
  const first = prices[0]?.currency ?? currency;
  return {
    lines: lines.map((line, nth) => ({ ...line, unitPriceMinor: prices[nth]!.unitPriceMinor })),
    currency: first,
    otherCurrency: prices.find((price) => price.currency !== first)?.currency,
  };
}

/** @throws DomainError `mixed-currency` */
export function assertOneCurrency({ currency, otherCurrency }: Priced): void {
  if (otherCurrency !== undefined) throw mixedCurrency(currency, otherCurrency);
}

/** Lines whose price is not what it was, or is no longer one that staff agreed to. */
export function priceMoves(before: Priced, now: Priced): PriceMove[] {
  const lines = new Map(before.lines.map((line) => [line.lineId, line]));
  return now.lines.flatMap(({ lineId, unitPriceMinor, priceAgreed }) => {
    const line = lines.get(lineId);
    if (!line) return [];
    const isSame = line.unitPriceMinor === unitPriceMinor && before.currency === now.currency;
    if (isSame && line.priceAgreed === priceAgreed) return [];
    return [{ lineId, previousMinor: line.unitPriceMinor, unitPriceMinor }];
  });
}

/** A price that moved is the catalogue's, also of a line whose price staff had agreed to. */
export function repriced(lines: readonly Line[], prices: readonly PriceMove[]): Line[] {
  const moves = new Map(prices.map((move) => [move.lineId, move]));
  return lines.map((line) => {
    const move = moves.get(line.lineId);
    if (!move) return line;
    const { priceAgreed: _, ...rest } = line;
    return { ...rest, unitPriceMinor: move.unitPriceMinor };
  });
}

/**
 * The one rule for what can be ordered: as many of a product as all lines want together. Without `productId` it is
 * applied to all products.
 *
 * @throws DomainError `unavailable`; `short` lists what there is too little of
 */
export function assertAvailable(lines: readonly Line[], offers: Offers, productId?: string): void {
  const wanted = new Map<string, number>();
  for (const line of lines) wanted.set(line.productId, (wanted.get(line.productId) ?? 0) + line.quantity);
  const short = [...wanted].flatMap(([id, requested]) => {
    if (productId !== undefined && id !== productId) return [];
    const { sku, available } = offers.get(id) ?? { sku: id, available: 0 };
    return available >= requested ? [] : [{ productId: id, sku, requested, available }];
  });
  if (short.length === 0) return;
  const list = short.map(({ sku, requested, available }) => `${sku} (${requested} wanted, ${available} available)`);
  throw new DomainError('conflict', 'unavailable', `Not available: ${list.join(', ')}.`, { short });
}

export function mixedCurrency(expected: string, found: string): DomainError {
  const message = `An order is in one currency: this one is in ${expected}, not ${found}.`;
  return new DomainError('invalid', 'mixed-currency', message);
}
