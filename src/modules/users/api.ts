import { ApiProperty } from '@nestjs/swagger';
import {
  ArrayNotEmpty,
  ArrayUnique,
  IsBoolean,
  IsEmail,
  IsIn,
  IsOptional,
  IsString,
  Length,
  MaxLength,
} from 'class-validator';
import {
  ChangesMetadata,
  type Metadata,
  type MetadataChange,
  metadataSchema,
  SetsMetadata,
} from '../../kernel/http/metadata';
import { Verbatim } from '../../kernel/http/text';
import { erased } from '../../kernel/personal-data/sealed';
import type { User } from './user.entity';

export class CreateUserRequest {
  /** @example 'grace@example.com' */
  @IsEmail()
  @MaxLength(254)
  email!: string;

  /** @example 'Grace Hopper' */
  @Length(1, 200)
  name!: string;

  /** false: no code is sent. Whoever it is for asks for one with `POST /v1/auth/password-reset`. */
  @IsOptional()
  @IsBoolean()
  invite?: boolean;

  @SetsMetadata()
  @IsOptional()
  metadata?: MetadataChange;
}

export class UpdateProfileRequest {
  /** @example 'Ada King' */
  @IsOptional()
  @Length(1, 200)
  name?: string;

  @ChangesMetadata()
  @IsOptional()
  metadata?: MetadataChange;
}

export class AssignRolesRequest {
  /** @example ['customer', 'staff'] */
  @ArrayNotEmpty()
  @ArrayUnique()
  @IsIn(['customer', 'staff', 'admin'], { each: true })
  roles!: ('customer' | 'staff' | 'admin')[];
}

export class ChangePasswordRequest {
  /** @example 'correct horse battery staple' */
  @IsString()
  @Length(1, 200)
  @Verbatim()
  currentPassword!: string;

  /** 10 to 200 characters, not easy to guess.
   * @example 'seven purple otters juggle' */
  @IsString()
  @Length(10, 200)
  @Verbatim()
  newPassword!: string;
}

export class OneTimeCodeResponse {
  /** Sets a new password once, with POST /v1/auth/password. Shown only in this response.
   * @example 'q3J9m0vXJpT6Yb3lJmWkS2c8y1E' */
  code!: string;

  expiresAt!: Date;
}

export class UserResponse {
  /** @example '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' */
  id!: string;

  /** null when the identity provider tells none, or another account has it.
   * @example 'ada@example.com' */
  email!: string | null;

  /** @example 'Ada Lovelace' */
  name!: string;

  /** @example ['customer'] */
  roles!: ('customer' | 'staff' | 'admin')[];

  status!: 'active' | 'deactivated' | 'erased';

  /** Text of the caller's own by keys of the caller's own; empty once the account is erased. */
  @ApiProperty(metadataSchema)
  metadata!: Metadata;

  /** Rises with every change; the ETag. */
  version!: number;

  createdAt!: Date;
}

export function userResponse(user: User): UserResponse {
  const { id, email, name, roles, status, metadata, version, createdAt } = user;
  return { id, email: status === 'erased' ? erased : email, name, roles, status, metadata, version, createdAt };
}
