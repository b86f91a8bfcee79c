import { Command } from '@nestjs/cqrs';
import type { VerifiedUser } from './verify-credentials';

/** Where a request comes from. */
export interface Client {
  /** IP address. */
  readonly address: string;
  readonly userAgent: string;
}

export interface OpenedSession {
  readonly sessionId: string;
  readonly user: VerifiedUser;
  readonly refreshToken: string;
  /** Seconds until the session expires, unless it is used before. */
  readonly expiresIn: number;
}

/**
 * Opens a session for somebody who has just proved who they are. An account has a limited number of them: a further one
 * ends the one that was not used for the longest time. Undefined when the account was changed since it was verified.
 */
export class OpenSession extends Command<OpenedSession | undefined> {
  constructor(
    readonly user: VerifiedUser,
    readonly client: Client,
  ) {
    super();
  }
}

/**
 * Exchanges a refresh token for the next one of its session. A repeat shortly after is given the same one. Any later use
 * of a used token ends the session, since somebody else may have it.
 *
 * @throws ProblemError 401 `refresh-token-invalid`, `refresh-token-reused`
 */
export class RefreshSession extends Command<OpenedSession> {
  constructor(
    readonly refreshToken: string,
    readonly client: Client,
  ) {
    super();
  }
}

/** Ends the session that one of its refresh tokens or its id names; nothing happens when there is none. */
export class EndSession extends Command<void> {
  constructor(
    readonly of: { readonly refreshToken: string } | { readonly userId: string; readonly sessionId: string },
  ) {
    super();
  }
}
