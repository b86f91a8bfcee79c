import { Query } from '@nestjs/cqrs';

export interface ProductCard {
  readonly id: string;
  readonly sku: string;
  readonly name: string;
  /** Integer minor units. */
  readonly priceMinor: number;
  readonly currency: string;
  readonly active: boolean;
  /** On hand and not reserved, at the moment of asking. */
  readonly available: number;
}

/** Those of the asked-for products that exist, in any order. */
export class GetProducts extends Query<ProductCard[]> {
  constructor(readonly productIds: readonly string[]) {
    super();
  }
}
