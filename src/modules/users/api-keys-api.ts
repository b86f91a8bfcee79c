import { ApiProperty } from '@nestjs/swagger';
import { ArrayNotEmpty, ArrayUnique, IsIn, IsOptional, Length } from 'class-validator';
import { Instant } from '../../kernel/http/instant';
import { type Scope, scopes } from '../../kernel/http/scopes';
import type { ApiKey } from './api-keys';

const names = Object.keys(scopes) as Scope[];
const meanings = Object.entries(scopes).map(([name, meaning]) => `* \`${name}\`: ${meaning}`);

export class CreateApiKeyRequest {
  /** To recognise it by.
   * @example 'warehouse import' */
  @Length(1, 100)
  name!: string;

  @ApiProperty({
    enum: names,
    isArray: true,
    example: ['orders:read', 'orders:write'],
    description: `What the key may be used for, as far as your account may do it:\n\n${meanings.join('\n')}`,
  })
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsIn(names, { each: true })
  scopes!: Scope[];

  /** RFC 3339 with a zone, in the future. Without it, the key is valid until it is ended.
   * @example '2035-01-01T00:00:00Z' */
  @IsOptional()
  @Instant()
  expiresAt?: Date;
}

export class ApiKeyResponse {
  /** @example '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' */
  id!: string;

  /** The first characters of the key.
   * @example 'ol_key_4mFh' */
  start!: string;

  /** @example 'warehouse import' */
  name!: string;

  @ApiProperty({ enum: names, isArray: true, example: ['orders:read', 'orders:write'] })
  scopes!: Scope[];

  createdAt!: Date;

  /** To the minute; null for a key that was never used. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  lastUsedAt!: Date | null;

  /** Null for a key that is valid until it is ended. */
  @ApiProperty({ type: String, format: 'date-time', nullable: true })
  expiresAt!: Date | null;
}

export class CreatedApiKeyResponse extends ApiKeyResponse {
  /** Shown only in this response. Send it as `Authorization: Bearer ol_key_…` or as `X-API-Key`.
   * @example 'ol_key_4mFhJ1kLw2SbXq8Zt0vNcR7yGd3PaE5uKi9oTz6WxMB1hQjV' */
  key!: string;
}

export function apiKeyResponse(row: ApiKey): ApiKeyResponse {
  const { id, start, name, scopes, createdAt, lastUsedAt, expiresAt } = row;
  return { id, start, name, scopes, createdAt, lastUsedAt, expiresAt };
}
