import { Body, Controller, createParamDecorator, type ExecutionContext, Headers, HttpCode, Post } from '@nestjs/common';
import { CommandBus, QueryBus } from '@nestjs/cqrs';
import { ApiConsumes, ApiSecurity, ApiTags } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { Public } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { RateClass } from '../../kernel/http/rate-class';
import { ProblemError } from '../../kernel/http/problem';
import { RegisterUser } from '../../modules/users/contracts/register-user';
import { RequestPasswordReset, SetPasswordByCode } from '../../modules/users/contracts/reset-password';
import {
  type Client,
  EndSession,
  type OpenedSession,
  OpenSession,
  RefreshSession,
} from '../../modules/users/contracts/sessions';
import { VerifyCredentials } from '../../modules/users/contracts/verify-credentials';
import { AccessTokens } from './access-tokens';
import {
  LogoutRequest,
  PasswordResetRequest,
  RefreshRequest,
  RegisterRequest,
  RegisterResponse,
  SetPasswordRequest,
  TokenRequest,
  TokenResponse,
} from './api';
import { bearerOf } from './bearer';

const From = createParamDecorator((_: unknown, context: ExecutionContext): Client => {
  const { ip, headers } = context.switchToHttp().getRequest<FastifyRequest>();
  return { address: ip, userAgent: headers['user-agent'] ?? '' };
});

@ApiTags('auth')
@Controller('v1/auth')
@RateClass('sign-in')
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

  /**
   * Sign in with e-mail address and password, or exchange a refresh token
   *
   * After too many failed sign-ins: 429. A refresh token is exchanged as `POST /v1/auth/refresh` does it.
   */
  @Post('token')
  @Public()
  @HttpCode(200)
  @ApiConsumes('application/x-www-form-urlencoded', 'application/json')
  @ApiProblems(400, 401, 429, 503)
  async token(@From() client: Client, @Body() request: TokenRequest): Promise<TokenResponse> {
    if (request.grant_type === 'refresh_token') return this.refresh(client, { refresh_token: request.refresh_token! });
    const { username, password } = request;
    const user = await this.queries.execute(new VerifyCredentials(username!, password!, client.address));
    const opened = user && (await this.commands.execute(new OpenSession(user, client)));
    if (!opened) throw new ProblemError(401, 'wrong-credentials', 'E-mail address or password is wrong.');
    return this.response(opened);
  }

  /**
   * Exchange a refresh token for an access token and the next refresh token
   *
   * Each refresh token is exchanged once. A repeat within 30 seconds, such as after a lost answer or from another tab, is
   * given the same next one. A later use of a used token ends the session, as the token may be stolen: sign in again.
   */
  @Post('refresh')
  @Public()
  @HttpCode(200)
  @ApiProblems(400, 401, 503)
  async refresh(@From() client: Client, @Body() { refresh_token }: RefreshRequest): Promise<TokenResponse> {
    return this.response(await this.commands.execute(new RefreshSession(refresh_token, client)));
  }

  /**
   * Sign out: end the session of the refresh token in the body, or of the access token in the header
   *
   * Its refresh and access tokens end at once. 204 also for a refresh token that is unknown or has ended.
   */
  @Post('logout')
  @Public()
  @ApiSecurity({})
  @ApiSecurity('password')
  @HttpCode(204)
  @ApiProblems(400, 401, 503)
  async logout(
    @Headers('authorization') authorization: string | undefined,
    @Body() { refresh_token: refreshToken }: LogoutRequest,
  ): Promise<void> {
    const named = refreshToken === undefined ? await this.sessionOf(authorization) : { refreshToken };
    await this.commands.execute(new EndSession(named));
  }

  /** Forgotten password: sends a one-time code to the e-mail address, if there is an active account. Always 202 */
  @Post('password-reset')
  @Public()
  @HttpCode(202)
  @ApiProblems(400, 429, 503)
  async requestPasswordReset(@From() { address }: Client, @Body() { email }: PasswordResetRequest): Promise<void> {
    await this.commands.execute(new RequestPasswordReset(email, address));
  }

  /** Set a password by a one-time code. Ends the account's sessions, access tokens and API keys */
  @Post('password')
  @Public()
  @HttpCode(204)
  @ApiProblems(400, 422, 503)
  async setPassword(@Body() { code, password }: SetPasswordRequest): Promise<void> {
    await this.commands.execute(new SetPasswordByCode(code, password));
  }

  private async response({ user, sessionId, refreshToken, expiresIn }: OpenedSession): Promise<TokenResponse> {
    return {
      access_token: await this.tokens.issue(user, sessionId),
      token_type: 'Bearer',
      expires_in: this.tokens.lifetimeSeconds,
      refresh_token: refreshToken,
      refresh_expires_in: expiresIn,
    };
  }

  /** @throws ProblemError 401 */
  private async sessionOf(authorization: string | undefined): Promise<{ userId: string; sessionId: string }> {
    const token = bearerOf(authorization);
    const principal = token === undefined ? undefined : await this.tokens.verify(token);
    if (typeof principal === 'object' && principal.sessionId) {
      return { userId: principal.userId, sessionId: principal.sessionId };
    }
    const detail = 'Send the refresh_token of the session, or an access token of it that has not ended or expired.';
    throw new ProblemError(401, 'unauthenticated', detail, {}, { 'WWW-Authenticate': 'Bearer realm="orderloom"' });
  }
}
