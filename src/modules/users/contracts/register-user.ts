import { Command } from '@nestjs/cqrs';

/**
 * Opens a customer's account.
 *
 * @throws DomainError `email-taken` (conflict), `password-weak` (invalid)
 * @throws OverloadError when too many passwords are being hashed
 */
export class RegisterUser extends Command<{ id: string }> {
  constructor(
    readonly email: string,
    readonly name: string,
    readonly password: string,
  ) {
    super();
  }
}
