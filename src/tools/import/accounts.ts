import { createHash } from 'node:crypto';
import { type ApiClient, Refusal } from './api-client';
import type { Customer, History } from './history';
import { keyOf } from './keys';

/** The accounts of customers, by the e-mail address that the file has or that their number makes. */
export class Accounts {
  private all: Promise<void> | undefined;

  constructor(
    private readonly api: ApiClient,
    private readonly history: History,
  ) {}

  /** @returns the id of the account, be it new or not. @throws Refusal */
  async open({ id: customerId, email: given, name }: Customer): Promise<string> {
    const email = given ?? `customer-${localPart(customerId)}@import.example`;
    try {
      // nobody is told of an account that an import opens: they ask for a password when they come back
      const body = { email, name, invite: false };
      return (await this.api.post<{ id: string }>('/v1/users', keyOf('customer', customerId), body)).body.id;
    } catch (error) {
      // reused: by an import of another file, in which the customer had another name
      if (!(error instanceof Refusal) || !['email-taken', 'idempotency-key-reused'].includes(error.code)) throw error;
      await (this.all ??= this.readAll());
      const known = this.history.scratch.get<{ id: string }>(
        'select id from accounts where email = ?',
        email.toLowerCase(),
      );
      if (known) return known.id;
      throw new Refusal(409, error.code, `There is an account ${email}, but it cannot be found.`);
    }
  }

  /** Only when an address is taken, and once: there is no search by address. */
  private async readAll(): Promise<void> {
    try {
      for await (const { id, email } of this.api.list<{ id: string; email: string }>('/v1/users')) {
        this.history.scratch.run('insert or replace into accounts (email, id) values (?, ?)', email.toLowerCase(), id);
      }
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 403) throw error;
      throw new Refusal(403, error.code, 'There is an account for it, which only an administrator can look up.');
    }
  }
}

/** Of an e-mail address; what cannot stand in one, or not in small letters, is replaced by its hash. */
function localPart(customerId: string): string {
  if (/^[a-z0-9-]{1,40}$/.test(customerId)) return customerId;
  return createHash('sha256').update(customerId).digest('hex').slice(0, 24);
}
