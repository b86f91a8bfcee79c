import { IsEmail, IsIn, IsOptional, IsString, Length, MaxLength, ValidateIf } from 'class-validator';
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

const isRefresh = ({ grant_type }: TokenRequest) => grant_type === 'refresh_token';

/** OAuth2 grants (RFC 6749, 4.3 and 6), form-encoded or JSON. */
export class TokenRequest {
  /** `password` without it.
   * @example 'password' */
  @IsOptional()
  @IsIn(['password', 'refresh_token'])
  grant_type?: 'password' | 'refresh_token';

  /** The e-mail address; for the grant `password`.
   * @example 'ada@example.com' */
  @ValidateIf((request: TokenRequest) => !isRefresh(request))
  @IsString()
  @MaxLength(254)
  @Verbatim()
  username?: string;

  /** For the grant `password`.
   * @example 'correct horse battery staple' */
  @ValidateIf((request: TokenRequest) => !isRefresh(request))
  @IsString()
  @MaxLength(200)
  @Verbatim()
  password?: string;

  /** For the grant `refresh_token`. */
  @ValidateIf(isRefresh)
  @IsString()
  @MaxLength(200)
  refresh_token?: string;

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

export class RefreshRequest {
  /** @example 'ol_refresh_4mFhJ1kLw2SbXq8Zt0vNcR7yGd3PaE5uKi9oTz6WxMB1hQjV' */
  @IsString()
  @MaxLength(200)
  refresh_token!: string;
}

export class LogoutRequest {
  /** Of the session to end. Without it, the session of the access token ends.
   * @example 'ol_refresh_4mFhJ1kLw2SbXq8Zt0vNcR7yGd3PaE5uKi9oTz6WxMB1hQjV' */
  @IsOptional()
  @IsString()
  @MaxLength(200)
  refresh_token?: string;
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

  /** Seconds until the access token expires.
   * @example 900 */
  expires_in!: number;

  /** Exchange it once, for the next pair of tokens.
   * @example 'ol_refresh_4mFhJ1kLw2SbXq8Zt0vNcR7yGd3PaE5uKi9oTz6WxMB1hQjV' */
  refresh_token!: string;

  /** Seconds until the refresh token expires.
   * @example 1209600 */
  refresh_expires_in!: number;
}
