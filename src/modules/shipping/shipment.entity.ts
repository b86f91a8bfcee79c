import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';
import type { Sealed } from '../../kernel/personal-data/sealed';
import type { PostalAddress, ShipmentLine } from './contracts/create-shipment';

@Entity({ schema: 'shipping', name: 'shipments' })
export class Shipment {
  @PrimaryColumn('uuid')
  id!: string;

  @Column('uuid', { name: 'order_id' })
  orderId!: string;

  @Column('text')
  status!: 'created' | 'dispatched' | 'delivered' | 'cancelled';

  /** None when it was cancelled before it was booked. */
  @Column('jsonb', { nullable: true })
  address!: Sealed<PostalAddress> | null;

  @Column('jsonb')
  lines!: ShipmentLine[];

  @Column('text', { name: 'tracking_number', nullable: true })
  trackingNumber!: string | null;

  @Column('integer')
  version!: number;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;

  @Column('timestamptz', { name: 'dispatched_at', nullable: true })
  dispatchedAt!: Date | null;

  @Column('timestamptz', { name: 'delivered_at', nullable: true })
  deliveredAt!: Date | null;
}
