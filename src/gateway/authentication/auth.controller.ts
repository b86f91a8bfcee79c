import { Body, Controller, HttpCode, Ip, Post } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiConsumes, ApiTags } from '@nestjs/swagger';
import { Public } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ProblemError } from '../../kernel/http/problem';
import { RegisterUser } from '../../modules/users/contracts/register-user';
import { RequestPasswordReset, SetPasswordByCode } from '../../modules/users/contracts/reset-password';
import { VerifyCredentials } from '../../modules/users/contracts/verify-credentials';
import { AccessTokens } from './access-tokens';
import {
  PasswordResetRequest,
  RegisterRequest,
  RegisterResponse,
  SetPasswordRequest,
  TokenRequest,
  TokenResponse,
} from './api';

@ApiTags('auth')
@Controller('v1/auth')
export class AuthController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
    private readonly tokens: AccessTokens,
  ) {}

  /** Open an account as a customer */
  @Post('register')
  @Public()
  @ApiProblems(400, 409, 422, 503)
  async register(@Body() { email, password, name }: RegisterRequest): Promise<RegisterResponse> {
    return this.commands.execute(new RegisterUser(email, name, password));
  }

  /** Sign in: e-mail address and password for an access token. After too many failures: 429 */
  @Post('token')
  @Public()
  @HttpCode(200)
  @ApiConsumes('application/x-www-form-urlencoded', 'application/json')
  @ApiProblems(400, 401, 429, 503)
  async token(@Ip() address: string, @Body() { username, password }: TokenRequest): Promise<TokenResponse> {
    const user = await this.queries.execute(new VerifyCredentials(username, password, address));
    if (!user) throw new ProblemError(401, 'wrong-credentials', 'E-mail address or password is wrong.');
    return {
      access_token: await this.tokens.issue(user),
      token_type: 'Bearer',
      expires_in: this.tokens.lifetimeSeconds,
    };
  }

  /** Forgotten password: sends a one-time code to the e-mail address, if there is an active account. Always 202 */
  @Post('password-reset')
  @Public()
  @HttpCode(202)
  @ApiProblems(400, 429, 503)
  async requestPasswordReset(@Ip() address: string, @Body() { email }: PasswordResetRequest): Promise<void> {
    await this.commands.execute(new RequestPasswordReset(email, address));
  }

  /** Set a password by a one-time code. Ends the account's access tokens */
  @Post('password')
  @Public()
  @HttpCode(204)
  @ApiProblems(400, 422, 503)
  async setPassword(@Body() { code, password }: SetPasswordRequest): Promise<void> {
    await this.commands.execute(new SetPasswordByCode(code, password));
  }
}
