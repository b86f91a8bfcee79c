import { Injectable } from '@nestjs/common';
import { InjectRepository } from '@nestjs/typeorm';
import { In, QueryFailedError, Repository } from 'typeorm';
import { currentContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { VersionMismatch } from '../../kernel/event-store/errors';
import { EventStore } from '../../kernel/event-store/event-store';
import { listed } from '../../kernel/database/listed';
import { type Listed, ListOrder, type SortKey, type SortValues } from '../../kernel/http/list-order';
import { isSameMetadata, mergedMetadata, type Metadata, type MetadataChange } from '../../kernel/http/metadata';
import { shortened } from '../../kernel/http/text';
import { Product } from './product.entity';
import { skuKey } from './sku-key';

export interface ProductData {
  readonly sku: string;
  readonly name: string;
  readonly description: string;
  readonly priceMinor: number;
  readonly currency: string;
  readonly metadata?: Metadata;
}

export interface ProductFilter {
  readonly text?: string;
  readonly sku?: string;
  readonly currency?: string;
  readonly minPriceMinor?: number;
  readonly maxPriceMinor?: number;
  readonly available?: boolean;
  readonly archived?: boolean;
}

export const productSorts = ['sku', '-sku', 'name', '-name', 'price', '-price', 'createdAt', '-createdAt'] as const;
export type ProductSort = (typeof productSorts)[number];

/** The closed list of what can be sorted by: nothing of the caller's gets into the SQL. */
const sortKeys = {
  sku: [['p.sku', 'text']],
  name: [['p.name', 'text']],
  // amounts in different currencies have no order
  price: [
    ['p.currency', 'text'],
    ['p.price_minor', 'bigint'],
  ],
  createdAt: [['p.created_at', 'instant']],
} as const satisfies Record<string, readonly SortKey[]>;

export function productOrder(sort: ProductSort): ListOrder {
  const keys = sortKeys[sort.replace('-', '') as keyof typeof sortKeys];
  return new ListOrder(`products ${sort}`, [...keys, ['p.id', 'uuid']], sort.startsWith('-') ? 'desc' : 'asc');
}

/** What is for sale, and at which price. */
@Injectable()
export class Catalogue {
  constructor(
    @InjectRepository(Product) private readonly products: Repository<Product>,
    private readonly events: EventStore,
  ) {}

  async get(id: string): Promise<Product> {
    const product = await this.products.findOneBy({ id });
    if (!product) throw unknownProduct(id);
    return product;
  }

  findAll(ids: readonly string[]): Promise<Product[]> {
    return this.products.findBy({ id: In([...ids]) });
  }

  /** `limit` of them behind the sort values `after`. */
  list(filter: ProductFilter, order: ListOrder, limit: number, after: SortValues | null): Promise<Listed<Product>[]> {
    const query = this.products.createQueryBuilder('p').addSelect(order.sortValues, 'cursor');
    query.where(order.beyond(':after'), { after });
    query.andWhere('p.status = :status', { status: filter.archived ? 'archived' : 'active' });
    if (filter.sku !== undefined) {
      query.andWhere('(p.skuKey = :key or p.sku = :sku)', { key: skuKey(filter.sku), sku: filter.sku });
    }
    if (filter.text !== undefined) {
      const like = `%${filter.text.replace(/[\\%_]/g, '\\$&')}%`;
      query.andWhere('(p.name ilike :like or p.description ilike :like or p.sku ilike :like)', { like });
    }
    if (filter.currency !== undefined) query.andWhere('p.currency = :currency', { currency: filter.currency });
    if (filter.minPriceMinor !== undefined) query.andWhere('p.priceMinor >= :min', { min: filter.minPriceMinor });
    if (filter.maxPriceMinor !== undefined) query.andWhere('p.priceMinor <= :max', { max: filter.maxPriceMinor });
    if (filter.available !== undefined) query.andWhere(filter.available ? 'p.available > 0' : 'p.available <= 0');
    return listed(query.orderBy(order.columns).limit(limit));
  }

  /** @throws DomainError `sku-taken` */
  async create(data: ProductData, id = currentContext().nextId('product')): Promise<Product> {
    try {
      await this.events.transaction(async (manager) => {
        const product = { id, metadata: {}, ...data, skuKey: skuKey(data.sku), status: 'active' as const, version: 1 };
        await manager.insert(Product, product);
        return { result: undefined, announce: [announce(id, { type: 'product.created', productId: id, ...data })] };
      });
    } catch (error) {
      if (!isUniqueViolation(error)) throw error;
      const [made] = await this.events.getEvents(id, 1, 1);
      if (!made) throw await this.skuTaken(data.sku);
      // the same request, told again: it is this very product
      this.events.assertSameRequest(made);
    }
    return this.get(id);
  }

  /** @throws DomainError `metadata-too-large` (invalid) */
  async change(
    id: string,
    { metadata: change, ...plain }: Partial<Omit<ProductData, 'sku' | 'metadata'>> & { metadata?: MetadataChange },
    expectedVersion: number,
  ): Promise<Product> {
    await this.edit(id, expectedVersion, (product) => {
      const metadata = mergedMetadata(product.metadata, change);
      const data = { ...plain, metadata: isSameMetadata(metadata, product.metadata) ? undefined : metadata };
      const changed = Object.entries(data).filter(
        ([name, value]) => value !== undefined && product[name as keyof Product] !== value,
      );
      if (changed.length === 0) return undefined;
      Object.assign(product, Object.fromEntries(changed));
      return { type: 'product.changed', productId: id, ...Object.fromEntries(changed) };
    });
    return this.get(id);
  }

  /** No more orders for it; what is reserved stays so. */
  async archive(id: string, expectedVersion: number): Promise<void> {
    await this.edit(id, expectedVersion, (product) => {
      if (product.status === 'archived') return undefined;
      product.status = 'archived';
      return { type: 'product.archived', productId: id };
    });
  }

  /** For sale again, under the SKU that it kept. */
  async restore(id: string, expectedVersion?: number): Promise<Product> {
    await this.edit(id, expectedVersion, (product) => {
      if (product.status === 'active') return undefined;
      product.status = 'active';
      return { type: 'product.restored', productId: id };
    });
    return this.get(id);
  }

  async isEmpty(): Promise<boolean> {
    return !(await this.products.exists());
  }

  /** Says who has it: the catalogue does not list an archived product unless it is asked to. */
  private async skuTaken(sku: string): Promise<DomainError> {
    const holder = await this.products
      .createQueryBuilder('p')
      .where('p.skuKey = :key or p.sku = :sku', { key: skuKey(sku), sku })
      .orderBy('p.skuKey', 'ASC', 'NULLS LAST')
      .getOneOrFail();
    const { id, name, status } = holder;
    const which = `The SKU ${holder.sku} is that of product ${id} (${shortened(name, 60)})`;
    const message =
      status === 'archived'
        ? `${which}, which is archived. Bring it back with POST /v1/products/${id}/restore, or choose another SKU.`
        : `${which}. Case and blanks make no difference: choose another SKU.`;
    return new DomainError('conflict', 'sku-taken', message, { product: { id, sku: holder.sku, name, status } });
  }

  private async edit(
    id: string,
    expectedVersion: number | undefined,
    apply: (product: Product) => { type: string; productId: string } | undefined,
  ): Promise<void> {
    await this.events.transaction(async (manager) => {
      const product = await manager.findOne(Product, { where: { id }, lock: { mode: 'pessimistic_write' } });
      if (!product) throw unknownProduct(id);
      if (expectedVersion !== undefined && product.version !== expectedVersion) {
        throw new VersionMismatch(expectedVersion, product.version);
      }
      const event = apply(product);
      if (!event) return { result: undefined, announce: [] };
      product.version += 1;
      await manager.save(product);
      return { result: undefined, announce: [announce(id, event)] };
    });
  }
}

function announce(id: string, event: { type: string; productId: string }) {
  return { aggregate: { type: 'product', id }, events: [event] };
}

function unknownProduct(id: string): DomainError {
  return new DomainError('not-found', 'product-unknown', `There is no product ${id}.`);
}

function isUniqueViolation(error: unknown): boolean {
  return error instanceof QueryFailedError && (error.driverError as { code?: string }).code === '23505';
}
