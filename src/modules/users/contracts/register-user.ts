import { Command } from '@nestjs/cqrs';

/**
 * Opens a customer's account. Without a password nobody can sign in to it: for customers that staff look after.
 *
 * @throws DomainError `email-taken` (conflict)
 */
export class RegisterUser extends Command<{ id: string }> {
  constructor(
    readonly email: string,
    readonly name: string,
    readonly password?: string,
  ) {
    super();
  }
}
