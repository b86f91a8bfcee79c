import { Injectable, Logger } from '@nestjs/common';
import { DomainError } from '../../kernel/domain-error';
import { ProblemError } from '../../kernel/http/problem';
import { Accounts, passwordElsewhere } from './accounts';
import { AttemptLimits } from './attempt-limits';
import { Mailer } from './mailer';
import { OneTimeCodes, type OneTimeCode } from './one-time-codes';
import { Passwords, randomPassword } from './passwords';
import type { User } from './user.entity';

/** Everything that a password or a one-time code opens. */
@Injectable()
export class SignIn {
  private readonly logger = new Logger('SignIn');

  constructor(
    private readonly accounts: Accounts,
    private readonly passwords: Passwords,
    private readonly limits: AttemptLimits,
    private readonly codes: OneTimeCodes,
    private readonly mailer: Mailer,
  ) {}

  /**
   * @returns undefined for a wrong password, an unknown account, and one that is not active, each after the same time
   * @throws ProblemError 429; OverloadError
   */
  verify(email: string, password: string, address: string): Promise<User | undefined> {
    return this.passwords.inTurn(async () => {
      await this.limits.attempt(email, address);
      const user = await this.accounts.findByEmail(email, true);
      const matches = await this.passwords.matches(user?.passwordHash, password);
      if (user && matches && user.status === 'active') {
        await this.limits.succeeded(email, address);
        return user;
      }
      // what was typed as the address may be a password, so the account is named by its id or not at all
      const reason = !user ? 'unknown account' : matches ? `account ${user.id} is ${user.status}` : wrong(user);
      this.logger.warn(`Sign-in from ${address} failed: ${reason}`);
      return undefined;
    });
  }

  /**
   * Ends the account's sessions, but for `exceptSession`.
   *
   * @throws DomainError `password-weak`; ProblemError 403 for a wrong current password, 429; OverloadError
   */
  async changePassword(
    id: string,
    current: string,
    wanted: string,
    address: string,
    exceptSession?: string,
  ): Promise<void> {
    const { email, name } = await this.accounts.get(id);
    this.passwords.assertStrong(wanted, { email, name });
    // counted as sign-ins are, so that a stolen token cannot be used to guess the password
    const user = await this.verify(email ?? id, current, address);
    if (!user) throw new ProblemError(403, 'wrong-password', 'currentPassword is not the password of this account.');
    const passwordHash = await this.passwords.hash(wanted);
    await this.accounts.setPassword(id, passwordHash, (manager) => this.codes.withdraw(id, manager), exceptSession);
  }

  /** Sends a code in the background, see `RequestPasswordReset`. @throws ProblemError 429 */
  async requestCode(email: string, address: string): Promise<void> {
    await this.limits.requestCode(email, address);
    void this.accounts
      .findByEmail(email)
      .then((user) => (user?.status === 'active' ? this.sendCode(user) : undefined))
      .catch((error: Error) => this.logger.error(`Cannot send a code for a new password: ${error.message}`));
  }

  /** Sends a code that sets the first password of an account, or a new one. None for who signs in elsewhere. */
  async sendCode(user: User): Promise<void> {
    if (user.email === null || (await this.accounts.isFederated(user.id))) return;
    const { code } = await this.codes.issue(user.id);
    // without the name, which anybody may have chosen who registered somebody else's address
    const text =
      `Hello,\n\nset your password with this code, which works once, within 24 hours:\n\n  ${code}\n\n` +
      `Send it with the new password to POST /v1/auth/password.\nIf you did not ask for it, ignore this message.`;
    await this.mailer.send({ to: user.email, subject: 'Set your password', text });
  }

  /** A code for an administrator to hand over. @throws DomainError `user-unknown`, `user-inactive`, `password-elsewhere` */
  async issueCode(id: string): Promise<OneTimeCode> {
    const { status } = await this.accounts.get(id);
    if (status !== 'active') {
      throw new DomainError('conflict', 'user-inactive', `The account is ${status}, so it cannot get a password.`);
    }
    if (await this.accounts.isFederated(id)) throw passwordElsewhere();
    await this.accounts.recordCode(id);
    return this.codes.issue(id);
  }

  /** @throws DomainError `code-invalid`, `password-weak`; OverloadError */
  async setPasswordByCode(code: string, wanted: string): Promise<void> {
    const id = await this.codes.accountOf(code);
    const user = id === undefined ? undefined : await this.accounts.find(id);
    if (!user || user.status !== 'active') throw invalidCode();
    this.passwords.assertStrong(wanted, user);
    const passwordHash = await this.passwords.hash(wanted);
    await this.accounts.setPassword(user.id, passwordHash, async (manager) => {
      if (!(await this.codes.spend(code, manager))) throw invalidCode();
    });
    await this.limits.forget(user.email!);
  }

  /** Gives the account a random password, for the operator of the server. */
  async resetPassword({ id, email }: User): Promise<string> {
    const password = randomPassword();
    const passwordHash = await this.passwords.hash(password);
    await this.accounts.setPassword(id, passwordHash, (manager) => this.codes.withdraw(id, manager));
    await this.limits.forget(email!);
    return password;
  }

  /** True when this is the account's password; for settings, not for clients: it does not count as an attempt. */
  async isPasswordOf(email: string, password: string): Promise<boolean> {
    const user = await this.accounts.findByEmail(email, true);
    return this.passwords.inTurn(() => this.passwords.matches(user?.passwordHash, password));
  }
}

function wrong({ id, passwordHash }: User): string {
  return passwordHash === null ? `account ${id} has no password yet` : `wrong password for account ${id}`;
}

function invalidCode(): DomainError {
  const message = 'code is unknown, has been used, or has expired: ask for a new one';
  return new DomainError('invalid', 'code-invalid', `The ${message}.`, { errors: [{ pointer: '/code', message }] });
}
