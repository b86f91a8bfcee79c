import type { Metadata } from '../../kernel/http/metadata';
import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

const integer = { to: (value: number) => value, from: (value: string) => Number(value) };

@Entity({ schema: 'products', name: 'products' })
export class Product {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('text')
  sku!: string;

  /** See sku-key.ts; null for a product from before this rule whose key another one holds. */
  @Column('text', { name: 'sku_key', nullable: true })
  skuKey!: string | null;

  @Column('text')
  name!: string;

  @Column('text')
  description!: string;

  @Column('bigint', { name: 'price_minor', transformer: integer })
  priceMinor!: number;

  @Column('char', { length: 3 })
  currency!: string;

  @Column('text')
  status!: 'active' | 'archived';

  /** In the house, whether or not somebody has it reserved. */
  @Column({ type: 'integer', name: 'on_hand', update: false, insert: false })
  onHand!: number;

  @Column({ type: 'integer', update: false, insert: false })
  reserved!: number;

  @Column({ type: 'integer', update: false, insert: false })
  available!: number;

  /** Of what is reserved: written off once its order is cancelled. */
  @Column({ type: 'integer', update: false, insert: false })
  withdrawn!: number;

  @Column('jsonb')
  metadata!: Metadata;

  @Column('integer')
  version!: number;

  /** Goes up with every change of the counters. */
  @Column({ type: 'integer', name: 'stock_version', update: false, insert: false })
  stockVersion!: number;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
