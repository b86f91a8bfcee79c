import { Command } from '@nestjs/cqrs';

/**
 * Sends a one-time code to the account with this e-mail address, if there is an active one. Resolves before it is known
 * whether there is, so that the time it takes reveals nothing.
 *
 * @throws ProblemError 429 after too many requests for the account or from the address
 */
export class RequestPasswordReset extends Command<void> {
  constructor(
    readonly email: string,
    /** IP address of the client. */
    readonly address: string,
  ) {
    super();
  }
}

/**
 * Sets a password by a one-time code, which is then spent, and ends the account's access tokens.
 *
 * @throws DomainError `code-invalid`, `password-weak` (invalid)
 * @throws OverloadError when too many passwords are being hashed
 */
export class SetPasswordByCode extends Command<void> {
  constructor(
    readonly code: string,
    readonly password: string,
  ) {
    super();
  }
}

/** Gives the administrator with this e-mail address a new random password, for an operator who lost it. */
export class ResetAdministrator extends Command<{ password: string }> {
  constructor(readonly email: string) {
    super();
  }
}
