import { setTimeout as delay } from 'node:timers/promises';
import { Injectable } from '@nestjs/common';
import { Database } from '../../kernel/database/database';
import { newId } from '../../kernel/ids';
import { within } from '../../kernel/time-limit';
import {
  type ChargeRequest,
  type ChargeResult,
  PaymentProvider,
  type RefundRequest,
  type VoidResult,
} from './payment-provider';

const declines: Readonly<Record<string, { code: string; message: string }>> = {
  sandbox_declined: { code: 'card_declined', message: 'The card was declined.' },
  sandbox_insufficient_funds: {
    code: 'card_insufficient_funds',
    message: 'There is not enough money on the account.',
  },
};

/** What the method token makes the sandbox do, besides taking the money. */
const manners = {
  sandbox_ok: {},
  /** Answers after 2 s. */
  sandbox_slow: { delayMs: 2000 },
  /** Fails the first time, before anything is taken. */
  sandbox_flaky: { failsFirst: true },
  /** Takes the money, and never says so the first time. */
  sandbox_timeout: { silentFirst: true },
} as const;

/** What the customer is told of a charge that was not made. */
function messageOf(code: string): string {
  if (code === 'voided') return 'The payment was called off.';
  const known = Object.values(declines).find((decline) => decline.code === code);
  return known?.message ?? `There is no such payment method; the sandbox knows ${Object.keys(manners).join(', ')}.`;
}

interface Entry {
  outcome: string;
  reference: string;
}

/** For one statement, in ms: so that a whole call fails for this reason, and not by the time limit of its policy. */
const ledgerMs = 900;

/** The ledger is in the app's own database: trouble there is no outage of the provider. What was asked may have been done. */
export class LedgerError extends Error {
  override readonly name = 'LedgerError';
  readonly retryAfterMs = 1000;

  constructor(cause: unknown) {
    super('The ledger of the sandbox provider cannot be used just now', { cause });
  }
}

/**
 * A provider that ships with the app and moves no money. What it does is chosen by the method token. Its ledger is
 * kept in transactions of its own: what it took stays taken whatever becomes of the caller.
 */
@Injectable()
export class SandboxProvider extends PaymentProvider {
  private readonly seen = new Set<string>();

  /** Not over TypeORM's connections: while stock waits for its locks they are taken, and a bank would not notice. */
  constructor(private readonly database: Database) {
    super();
  }

  async charge(request: ChargeRequest, signal: AbortSignal): Promise<ChargeResult> {
    const { key, method } = request;
    const first = !this.seen.has(key);
    this.seen.add(key);
    const manner: { delayMs?: number; failsFirst?: boolean; silentFirst?: boolean } | undefined =
      manners[method as keyof typeof manners];
    const known = await this.find(key);
    if (!known) {
      if (manner?.failsFirst && first) throw new Error('The sandbox provider answers 500, as sandbox_flaky asks');
      if (manner?.delayMs) await delay(manner.delayMs, undefined, { signal });
    }
    const outcome = manner ? 'charged' : (declines[method]?.code ?? 'invalid_payment_method');
    const entry = known ?? (await this.write('charge', key, key, outcome, request.amountMinor, request.currency));
    if (manner?.silentFirst && !known) await delay(60_000, undefined, { signal });
    if (entry.outcome === 'charged') return { outcome: 'charged', reference: entry.reference };
    return { outcome: 'declined', code: entry.outcome, message: messageOf(entry.outcome) };
  }

  async void({ key, amountMinor, currency }: ChargeRequest): Promise<VoidResult> {
    const known = await this.find(key);
    const { outcome, reference } = known ?? (await this.write('charge', key, key, 'voided', amountMinor, currency));
    if (outcome === 'charged') return { outcome, reference };
    return outcome === 'voided' ? { outcome } : { outcome: 'declined', code: outcome, message: messageOf(outcome) };
  }

  async refund({ key, chargeKey }: RefundRequest): Promise<{ reference: string }> {
    const known = await this.find(key);
    if (known) return known;
    const [charge] = await this.query<{ outcome: string; amount_minor: string; currency: string }>(
      `select outcome, amount_minor, currency from payments.sandbox_ledger where key = $1`,
      [chargeKey],
    );
    if (charge?.outcome !== 'charged') throw new Error(`There is no charge ${chargeKey} to refund`);
    return this.write('refund', key, chargeKey, 'refunded', Number(charge.amount_minor), charge.currency);
  }

  private async find(key: string): Promise<Entry | undefined> {
    const [entry] = await this.query<Entry>('select outcome, reference from payments.sandbox_ledger where key = $1', [
      key,
    ]);
    return entry;
  }

  private async write(
    kind: 'charge' | 'refund',
    key: string,
    chargeKey: string,
    outcome: string,
    amountMinor: number,
    currency: string,
  ): Promise<Entry> {
    await this.query(
      `insert into payments.sandbox_ledger (key, kind, charge_key, outcome, amount_minor, currency, reference)
       values ($1, $2, $3, $4, $5, $6, $7) on conflict (key) do nothing`,
      [key, kind, chargeKey, outcome, amountMinor, currency, `sandbox_${newId()}`],
    );
    return (await this.find(key))!;
  }

  private async query<Row>(text: string, values: unknown[]): Promise<Row[]> {
    try {
      const { rows } = await within(ledgerMs, 'The ledger', () => this.database.pool.query(text, values));
      return rows as Row[];
    } catch (error) {
      throw new LedgerError(error);
    }
  }
}
