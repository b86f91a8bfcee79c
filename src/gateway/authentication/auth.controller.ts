import { Body, Controller, HttpCode, Post } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiConsumes, ApiTags } from '@nestjs/swagger';
import { ApiProblems } from '../../kernel/http/api-problems';
import { Public } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import { RegisterUser } from '../../modules/users/contracts/register-user';
import { VerifyCredentials } from '../../modules/users/contracts/verify-credentials';
import { AccessTokens } from './access-tokens';
import { RegisterRequest, RegisterResponse, TokenRequest, TokenResponse } from './api';

@ApiTags('auth')
@Controller('v1/auth')
@Public()
export class AuthController {
  constructor(
    private readonly commands: CommandBus,
    private readonly queries: QueryBus,
    private readonly tokens: AccessTokens,
  ) {}

  /** Open an account as a customer */
  @Post('register')
  @ApiProblems(400, 409)
  async register(@Body() { email, password, name }: RegisterRequest): Promise<RegisterResponse> {
    return this.commands.execute(new RegisterUser(email, name, password));
  }

  /** Sign in: e-mail and password for an access token */
  @Post('token')
  @HttpCode(200)
  @ApiConsumes('application/x-www-form-urlencoded', 'application/json')
  @ApiProblems(400, 401)
  async token(@Body() { username, password }: TokenRequest): Promise<TokenResponse> {
    const principal = await this.queries.execute(new VerifyCredentials(username, password));
    if (!principal) throw new ProblemError(401, 'wrong-credentials', 'E-mail address or password is wrong.');
    return {
      access_token: await this.tokens.issue(principal),
      token_type: 'Bearer',
      expires_in: this.tokens.lifetimeSeconds,
    };
  }
}
