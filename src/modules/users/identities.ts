import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { isEmail } from 'class-validator';
import { currentContext, ExecutionContext, runInContext } from '../../kernel/context';
import { DomainError } from '../../kernel/domain-error';
import { canonicalText, isNormalisable, isStorable, shortened } from '../../kernel/http/text';
import { newId } from '../../kernel/ids';
import { Accounts } from './accounts';
import { type FederatedProfile, SignInFederated } from './contracts/sign-in-federated';
import type { User } from './user.entity';

/** Of requests that open the account at once, all but one find it at their second try. */
const tries = 3;

/** The name of an account whose owner the provider does not name. */
const unnamed = 'Customer';

/** Accounts of people who sign in with the identity provider. */
@Injectable()
export class Identities {
  constructor(private readonly accounts: Accounts) {}

  async accountOf(issuer: string, subject: string, profile: FederatedProfile): Promise<User> {
    const hash = createHash('sha256')
      .update(JSON.stringify([issuer, subject]))
      .digest();
    for (let attempt = 1; ; attempt++) {
      const known = await this.accounts.findByIdentity(hash);
      if (known) return known;
      const account = { name: nameOf(profile), email: await this.freeEmail(profile), passwordHash: null };
      try {
        await this.accounts.register({ ...account, identity: { hash, issuer } });
      } catch (error) {
        if (!(error instanceof DomainError) || attempt === tries) throw error;
      }
    }
  }

  /** An address that another account has stays with that account: see ADR 29. */
  private async freeEmail({ email }: FederatedProfile): Promise<string | null> {
    if (!email || email.length > 254 || !isStorable(email) || !isEmail(email)) return null;
    return (await this.accounts.findByEmail(email)) ? null : email;
  }
}

function nameOf({ name = '' }: FederatedProfile): string {
  const readable = isStorable(name) && isNormalisable(name) ? canonicalText(name) : '';
  return readable === '' ? unnamed : shortened(readable, 200);
}

@CommandHandler(SignInFederated)
export class SignInFederatedHandler implements ICommandHandler<SignInFederated> {
  constructor(private readonly identities: Identities) {}

  async execute({ issuer, subject, profile }: SignInFederated) {
    // In a context of its own: the request may be a repeat, whose ids must not depend on whether it opened the account.
    const context = new ExecutionContext('system:sign-in', newId(), currentContext().correlationId);
    const user = await runInContext(context, () => this.identities.accountOf(issuer, subject, profile));
    return { userId: user.id, roles: user.roles, version: user.version, active: user.status === 'active' };
  }
}
