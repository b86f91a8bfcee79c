import { IsEmail, IsIn, IsOptional, IsString, Length, MaxLength } from 'class-validator';
import { Verbatim } from '../../kernel/http/text';

export class RegisterRequest {
  /** @example 'ada@example.com' */
  @IsEmail()
  @MaxLength(254)
  email!: string;

  /** 10 to 200 characters, not easy to guess.
   * @example 'correct horse battery staple' */
  @Length(10, 200)
  @Verbatim()
  password!: string;

  /** @example 'Ada Lovelace' */
  @Length(1, 200)
  name!: string;
}

export class RegisterResponse {
  /** @example '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' */
  id!: string;
}

/** OAuth2 password grant (RFC 6749, 4.3), form-encoded or JSON; `username` is the e-mail address. */
export class TokenRequest {
  @IsOptional()
  @IsIn(['password'])
  grant_type?: string;

  /** @example 'ada@example.com' */
  @IsString()
  @MaxLength(254)
  @Verbatim()
  username!: string;

  /** @example 'correct horse battery staple' */
  @IsString()
  @MaxLength(200)
  @Verbatim()
  password!: string;

  /** Accepted and ignored, as Swagger UI and OAuth2 clients send it. */
  @IsOptional()
  @IsString()
  @MaxLength(4000)
  scope?: string;

  /** Accepted and ignored. */
  @IsOptional()
  @IsString()
  @MaxLength(4000)
  client_id?: string;

  /** Accepted and ignored. */
  @IsOptional()
  @IsString()
  @MaxLength(4000)
  @Verbatim()
  client_secret?: string;
}

export class PasswordResetRequest {
  /** @example 'ada@example.com' */
  @IsEmail()
  @MaxLength(254)
  email!: string;
}

export class SetPasswordRequest {
  /** From the message that was sent to the account's e-mail address, or from an administrator.
   * @example 'q3J9m0vXJpT6Yb3lJmWkS2c8y1E' */
  @IsString()
  @Length(1, 100)
  code!: string;

  /** 10 to 200 characters, not easy to guess.
   * @example 'seven purple otters juggle' */
  @IsString()
  @Length(10, 200)
  @Verbatim()
  password!: string;
}

export class TokenResponse {
  access_token!: string;

  /** @example 'Bearer' */
  token_type!: string;

  /** Seconds until it expires.
   * @example 3600 */
  expires_in!: number;
}
