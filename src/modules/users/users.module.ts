import { Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { CommandHandler, type ICommandHandler, type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config, ConfigError } from '../../config/config';
import { DomainError } from '../../kernel/domain-error';
import { erased } from '../../kernel/personal-data/sealed';
import { Accounts } from './accounts';
import { ApiKeysController } from './api-keys.controller';
import { ApiKeys } from './api-keys';
import { AttemptLimits } from './attempt-limits';
import { GetUser } from './contracts/get-user';
import { GetVoidTokens, IsTokenVoid } from './contracts/get-void-tokens';
import { RegisterUser } from './contracts/register-user';
import { RequestPasswordReset, ResetAdministrator, SetPasswordByCode } from './contracts/reset-password';
import { EndSession, OpenSession, RefreshSession } from './contracts/sessions';
import { VerifyApiKey } from './contracts/verify-api-key';
import { VerifyCredentials } from './contracts/verify-credentials';
import { EndedCredentials } from './ended-credentials';
import { Identities, SignInFederatedHandler } from './identities';
import { Identity } from './identity.entity';
import { LogMailer, Mailer } from './mailer';
import { OneTimeCodes } from './one-time-codes';
import { Passwords, randomPassword } from './passwords';
import { SessionsController } from './sessions.controller';
import { Sessions } from './sessions';
import { SignIn } from './sign-in';
import { User } from './user.entity';
import { UsersController } from './users.controller';

@QueryHandler(GetUser)
class GetUserHandler implements IQueryHandler<GetUser> {
  constructor(private readonly accounts: Accounts) {}

  async execute({ userId }: GetUser) {
    const user = await this.accounts.find(userId);
    if (!user) return undefined;
    const { id, name, email, status } = user;
    return { id, name, email: status === 'erased' ? erased : email, active: status === 'active' };
  }
}

@QueryHandler(GetVoidTokens)
class GetVoidTokensHandler implements IQueryHandler<GetVoidTokens> {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly apiKeys: ApiKeys,
  ) {}

  async execute({ seconds }: GetVoidTokens) {
    const users = await this.accounts.withVoidTokens(seconds);
    const accounts = users.map(({ id, tokensVoidBelow }) => ({ userId: id, belowVersion: tokensVoidBelow }));
    const ended = await Promise.all([this.sessions.endedWithin(seconds), this.apiKeys.endedWithin(seconds)]);
    return { accounts, credentials: ended.flat() };
  }
}

@QueryHandler(IsTokenVoid)
class IsTokenVoidHandler implements IQueryHandler<IsTokenVoid> {
  constructor(
    private readonly accounts: Accounts,
    private readonly sessions: Sessions,
    private readonly apiKeys: ApiKeys,
  ) {}

  async execute({ userId, version, credentialId }: IsTokenVoid) {
    const user = await this.accounts.find(userId);
    if (user && version < user.tokensVoidBelow) return true;
    if (credentialId === undefined) return false;
    return !(await this.sessions.isOpen(credentialId)) && !(await this.apiKeys.isOpen(credentialId));
  }
}

@CommandHandler(RegisterUser)
class RegisterUserHandler implements ICommandHandler<RegisterUser> {
  constructor(
    private readonly accounts: Accounts,
    private readonly passwords: Passwords,
  ) {}

  async execute({ email, name, password }: RegisterUser) {
    this.passwords.assertStrong(password, { email, name });
    const { id } = await this.accounts.register({ email, name, passwordHash: await this.passwords.hash(password) });
    return { id };
  }
}

@QueryHandler(VerifyCredentials)
class VerifyCredentialsHandler implements IQueryHandler<VerifyCredentials> {
  constructor(private readonly signIn: SignIn) {}

  async execute({ email, password, address }: VerifyCredentials) {
    const user = await this.signIn.verify(email, password, address);
    return user && { userId: user.id, roles: user.roles, version: user.version };
  }
}

@CommandHandler(OpenSession)
class OpenSessionHandler implements ICommandHandler<OpenSession> {
  constructor(private readonly sessions: Sessions) {}

  execute({ user, client }: OpenSession) {
    return this.sessions.open(user, client);
  }
}

@CommandHandler(RefreshSession)
class RefreshSessionHandler implements ICommandHandler<RefreshSession> {
  constructor(private readonly sessions: Sessions) {}

  execute({ refreshToken, client }: RefreshSession) {
    return this.sessions.refresh(refreshToken, client);
  }
}

@CommandHandler(EndSession)
class EndSessionHandler implements ICommandHandler<EndSession> {
  constructor(private readonly sessions: Sessions) {}

  async execute({ of }: EndSession) {
    if ('refreshToken' in of) await this.sessions.endByToken(of.refreshToken);
    else await this.sessions.endOne(of.userId, of.sessionId, 'signed-out');
  }
}

@QueryHandler(VerifyApiKey)
class VerifyApiKeyHandler implements IQueryHandler<VerifyApiKey> {
  constructor(private readonly apiKeys: ApiKeys) {}

  execute({ key }: VerifyApiKey) {
    return this.apiKeys.verify(key);
  }
}

@CommandHandler(RequestPasswordReset)
class RequestPasswordResetHandler implements ICommandHandler<RequestPasswordReset> {
  constructor(private readonly signIn: SignIn) {}

  execute({ email, address }: RequestPasswordReset) {
    return this.signIn.requestCode(email, address);
  }
}

@CommandHandler(SetPasswordByCode)
class SetPasswordByCodeHandler implements ICommandHandler<SetPasswordByCode> {
  constructor(private readonly signIn: SignIn) {}

  execute({ code, password }: SetPasswordByCode) {
    return this.signIn.setPasswordByCode(code, password);
  }
}

@CommandHandler(ResetAdministrator)
class ResetAdministratorHandler implements ICommandHandler<ResetAdministrator> {
  constructor(
    private readonly accounts: Accounts,
    private readonly signIn: SignIn,
  ) {}

  async execute({ email }: ResetAdministrator) {
    const user = await this.accounts.findByEmail(email);
    if (!user?.roles.includes('admin') || user.status !== 'active') {
      throw new ConfigError(`${email} is no active administrator: name one with ADMIN_EMAIL.`);
    }
    return { password: await this.signIn.resetPassword(user) };
  }
}

/** Who may sign in, and as what. */
@Module({
  imports: [TypeOrmModule.forFeature([User, Identity])],
  controllers: [ApiKeysController, SessionsController, UsersController],
  providers: [
    Accounts,
    ApiKeys,
    AttemptLimits,
    EndedCredentials,
    Identities,
    OneTimeCodes,
    Passwords,
    Sessions,
    SignIn,
    { provide: Mailer, useClass: LogMailer },
    GetUserHandler,
    GetVoidTokensHandler,
    IsTokenVoidHandler,
    OpenSessionHandler,
    RefreshSessionHandler,
    EndSessionHandler,
    RegisterUserHandler,
    RequestPasswordResetHandler,
    ResetAdministratorHandler,
    SetPasswordByCodeHandler,
    VerifyApiKeyHandler,
    SignInFederatedHandler,
    VerifyCredentialsHandler,
  ],
})
export class UsersModule implements OnApplicationBootstrap {
  private readonly logger = new Logger('Users');

  constructor(
    private readonly accounts: Accounts,
    private readonly passwords: Passwords,
    private readonly signIn: SignIn,
    private readonly config: Config,
  ) {}

  /** Opens the first administrator's account: without one, nobody could make another. */
  async onApplicationBootstrap(): Promise<void> {
    const { ADMIN_EMAIL: email, ADMIN_PASSWORD: given } = this.config;
    if (await this.accounts.anyAdmin()) {
      if (given && !(await this.signIn.isPasswordOf(email, given))) {
        this.logger.warn(
          `ADMIN_PASSWORD is ignored, because an administrator exists already. It is not the password of ${email}: ` +
            'if that is lost, npm run admin:reset-password gives a new one.',
        );
      }
      return;
    }
    const password = given ?? randomPassword();
    const name = 'Administrator';
    try {
      this.passwords.assertStrong(password, { email, name });
      const passwordHash = await this.passwords.hash(password);
      await this.accounts.register({ email, name, passwordHash, roles: ['customer', 'staff', 'admin'] });
    } catch (error) {
      if (!(error instanceof DomainError)) throw error;
      if (error.code === 'password-weak') throw new ConfigError('ADMIN_PASSWORD is too easy to guess: choose another.');
      // another replica was first
      if (await this.accounts.anyAdmin()) return;
      throw error;
    }
    const told = given ? 'the password in ADMIN_PASSWORD' : `password ${password} (shown only this once)`;
    this.logger.log(`Administrator ${email} created, ${told}`);
  }
}
