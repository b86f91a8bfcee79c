import type { Amounts } from './formats/format';

export interface PricedLine {
  readonly sku: string;
  readonly quantity: number;
  readonly unitPriceMinor: number;
}

export interface Settled {
  readonly lines: readonly PricedLine[];
  /** What cannot be told from the file's own amounts, and was charged or deducted all the same. */
  readonly unexplainedMinor: number;
}

/** What stands for a charge among the lines of an order. */
export const charges = {
  shipping: { sku: 'SHIPPING', name: 'Shipping' },
  taxes: { sku: 'TAXES', name: 'Taxes' },
  other: { sku: 'OTHER-CHARGES', name: 'Other charges' },
} as const;

const sumOf = (lines: readonly PricedLine[]) =>
  lines.reduce((sum, { quantity, unitPriceMinor }) => sum + quantity * unitPriceMinor, 0);

/**
 * Turns the lines of an order into such that come to what was paid for it in the end: its total less refunds. Shipping,
 * and taxes unless the prices include them, become lines of their own. A discount lowers the prices, each by its share.
 */
export function settle(lines: readonly PricedLine[], amounts: Amounts): Settled {
  const { total, shipping, taxes, discount, refunded } = amounts;
  const goods = sumOf(lines);
  // what the total may be beyond goods and shipping, refunded pieces being in the lines or not
  const untaxed = [0, -discount, refunded, refunded - discount];
  const beyondGoods = total - shipping - goods;
  const addTaxes =
    distance(beyondGoods - taxes, untaxed) < distance(beyondGoods, untaxed) || (taxes > 0 && beyondGoods === taxes);
  const all = [
    ...lines,
    ...(shipping > 0 ? [{ sku: charges.shipping.sku, quantity: 1, unitPriceMinor: shipping }] : []),
    ...(addTaxes ? [{ sku: charges.taxes.sku, quantity: 1, unitPriceMinor: taxes }] : []),
  ];
  const gap = total - refunded - sumOf(all);
  const pieces = lines.reduce((sum, { quantity }) => sum + quantity, 0);
  // prices after a discount are rounded to the penny, each; a refund may be of anything
  const isRefund = refunded > 0 && gap <= 0 && gap >= -discount - refunded;
  const unexplainedMinor = isRefund || distance(gap, [0, -discount]) <= pieces ? 0 : gap;
  if (gap > pieces || (gap > 0 && goods === 0))
    return { lines: [...all, { ...other, unitPriceMinor: gap }], unexplainedMinor };
  return { lines: gap === 0 ? all : spread(gap, all, goods + gap >= 0 ? lines.length : all.length), unexplainedMinor };
}

function distance(from: number, to: readonly number[]): number {
  return Math.min(...to.map((each) => Math.abs(from - each)));
}

const other = { sku: charges.other.sku, quantity: 1 };

/** Adds `minor` to the first `count` lines, in proportion; a line whose pieces do not come out equal is split. */
function spread(minor: number, lines: readonly PricedLine[], count: number): PricedLine[] {
  const changed = lines.slice(0, count);
  let before = BigInt(sumOf(changed));
  let left = BigInt(minor);
  const result = changed.flatMap(({ sku, quantity, unitPriceMinor }) => {
    const amount = BigInt(quantity) * BigInt(unitPriceMinor);
    // the last line takes what is left of both, so that nothing is lost by rounding
    const share = before === 0n ? 0n : (left * amount) / before;
    before -= amount;
    left -= share;
    const rest = Number(amount + share);
    const unit = Math.floor(rest / quantity);
    const dearer = rest - unit * quantity;
    return [
      { sku, quantity: quantity - dearer, unitPriceMinor: unit },
      { sku, quantity: dearer, unitPriceMinor: unit + 1 },
    ].filter((line) => line.quantity > 0);
  });
  return [...result, ...lines.slice(count)];
}
