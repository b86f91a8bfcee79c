import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';
import type { Metadata } from '../../kernel/http/metadata';
import type { Role } from '../../kernel/http/principal';

@Entity({ schema: 'users', name: 'users' })
export class User {
  @PrimaryColumn('uuid')
  id!: string;

  /** Null once the account has been erased, and for one of the identity provider whose address is not known. */
  @Column('text', { nullable: true })
  email!: string | null;

  @Column('text')
  name!: string;

  @Column('text', { name: 'password_hash', nullable: true, select: false })
  passwordHash!: string | null;

  @Column('text', { array: true })
  roles!: Role[];

  @Column('text')
  status!: 'active' | 'deactivated' | 'erased';

  @Column('jsonb', { default: {} })
  metadata!: Metadata;

  /** Rises with every change, as the version of the account's stream does. */
  @Column('integer')
  version!: number;

  /** Access tokens issued at a lower {@link version} are void. */
  @Column('integer', { name: 'tokens_void_below', default: 0 })
  tokensVoidBelow!: number;

  @Column('timestamptz', { name: 'tokens_voided_at', nullable: true })
  tokensVoidedAt!: Date | null;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
