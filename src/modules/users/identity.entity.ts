import { Column, CreateDateColumn, Entity, PrimaryColumn } from 'typeorm';

/** Who may use an account by signing in with the identity provider. */
@Entity({ schema: 'users', name: 'identities' })
export class Identity {
  /** SHA-256 of issuer and subject. Not the subject itself, which would have to be erased with the account. */
  @PrimaryColumn('bytea')
  hash!: Buffer;

  @Column('text')
  issuer!: string;

  @Column('uuid', { name: 'user_id' })
  userId!: string;

  @CreateDateColumn({ name: 'created_at', type: 'timestamptz' })
  createdAt!: Date;
}
