import { randomBytes } from 'node:crypto';
import { Logger, Module, type OnApplicationBootstrap } from '@nestjs/common';
import { CommandHandler, type ICommandHandler, type IQueryHandler, QueryHandler } from '@nestjs/cqrs';
import { TypeOrmModule } from '@nestjs/typeorm';
import { Config } from '../../config/config';
import { DomainError } from '../../kernel/domain-error';
import { erased } from '../../kernel/personal-data/sealed';
import { Accounts } from './accounts';
import { GetUser } from './contracts/get-user';
import { RegisterUser } from './contracts/register-user';
import { VerifyCredentials } from './contracts/verify-credentials';
import { User } from './user.entity';
import { UsersController } from './users.controller';

@QueryHandler(GetUser)
class GetUserHandler implements IQueryHandler<GetUser> {
  constructor(private readonly accounts: Accounts) {}

  async execute({ userId }: GetUser) {
    const user = await this.accounts.find(userId);
    if (!user) return undefined;
    const { id, name, email, status } = user;
    return { id, name, email: email ?? erased, active: status === 'active' };
  }
}

@CommandHandler(RegisterUser)
class RegisterUserHandler implements ICommandHandler<RegisterUser> {
  constructor(private readonly accounts: Accounts) {}

  async execute({ email, name, password }: RegisterUser) {
    return { id: await this.accounts.register(email, name, password) };
  }
}

@QueryHandler(VerifyCredentials)
class VerifyCredentialsHandler implements IQueryHandler<VerifyCredentials> {
  constructor(private readonly accounts: Accounts) {}

  async execute({ email, password }: VerifyCredentials) {
    const user = await this.accounts.verify(email, password);
    return user && { userId: user.id, roles: user.roles };
  }
}

/** Who may sign in, and as what. */
@Module({
  imports: [TypeOrmModule.forFeature([User])],
  controllers: [UsersController],
  providers: [Accounts, GetUserHandler, RegisterUserHandler, VerifyCredentialsHandler],
})
export class UsersModule implements OnApplicationBootstrap {
  private readonly logger = new Logger('Users');

  constructor(
    private readonly accounts: Accounts,
    private readonly config: Config,
  ) {}

  /** Somebody has to be first: without an administrator nobody could make one. */
  async onApplicationBootstrap(): Promise<void> {
    if (await this.accounts.anyAdmin()) return;
    const { ADMIN_EMAIL: email, ADMIN_PASSWORD: given } = this.config;
    const password = given ?? randomBytes(12).toString('base64url');
    try {
      await this.accounts.register(email, 'Administrator', password, ['customer', 'staff', 'admin']);
    } catch (error) {
      // another replica was quicker
      if (error instanceof DomainError && (await this.accounts.anyAdmin())) return;
      throw error;
    }
    this.logger.log(`Administrator ${email} created${given ? '' : `, password ${password} (shown only this once)`}`);
  }
}
