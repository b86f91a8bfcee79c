import {
  Body,
  Controller,
  Delete,
  Get,
  HttpCode,
  Ip,
  Param,
  ParseUUIDPipe,
  Patch,
  Post,
  Put,
  Query,
} from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiIfMatch, IfMatch } from '../../kernel/http/conditional';
import { AnswerNotKept, IdempotencyKeyIgnored } from '../../kernel/http/idempotency';
import { mergedMetadata } from '../../kernel/http/metadata';
import { ApiPage, type Page, pageOf, PageQuery } from '../../kernel/http/page';
import { CurrentPrincipal, type Principal } from '../../kernel/http/principal';
import { accountOrder, Accounts } from './accounts';
import {
  AssignRolesRequest,
  ChangePasswordRequest,
  CreateUserRequest,
  OneTimeCodeResponse,
  UpdateProfileRequest,
  UserResponse,
  userResponse,
} from './api';
import { SignIn } from './sign-in';

@ApiTags('users')
@Controller('v1/users')
export class UsersController {
  constructor(
    private readonly accounts: Accounts,
    private readonly signIn: SignIn,
  ) {}

  /** Your own account */
  @Get('me')
  @Access('customer', { scope: 'users:read', own: true })
  @ApiProblems(404)
  async getMe(@CurrentPrincipal() me: Principal): Promise<UserResponse> {
    const user = await this.accounts.get(me.userId);
    // those of this credential: the identity provider may say them, and the account does not know
    return userResponse({ ...user, roles: [...me.roles] });
  }

  /** Change your name or your metadata */
  @Patch('me')
  @Access('customer', { own: true })
  @ApiIfMatch(true)
  @ApiProblems(400, 404, 409, 412, 428)
  async updateMe(
    @CurrentPrincipal() me: Principal,
    @IfMatch('required') version: number,
    @Body() change: UpdateProfileRequest,
  ): Promise<UserResponse> {
    return userResponse(await this.accounts.changeProfile(me.userId, change, version));
  }

  /**
   * Change your password. Your other sessions end, and all access tokens
   *
   * That of this session ends too: get the next one with its refresh token.
   */
  @Post('me/password')
  @Access('customer', { own: true })
  @HttpCode(204)
  @IdempotencyKeyIgnored()
  @ApiProblems(400, 422, 429, 503)
  async changePassword(
    @CurrentPrincipal() me: Principal,
    @Ip() address: string,
    @Body() { currentPassword, newPassword }: ChangePasswordRequest,
  ): Promise<void> {
    await this.signIn.changePassword(me.userId, currentPassword, newPassword, address, me.sessionId);
  }

  /** Erase yourself: name, addresses, sign-in. What has not been shipped is cancelled and refunded; this cannot be undone */
  @Delete('me')
  @Access('customer', { own: true })
  @HttpCode(204)
  @ApiProblems(404, 409)
  async eraseMe(@CurrentPrincipal() me: Principal): Promise<void> {
    await this.accounts.erase(me.userId);
  }

  /** Open an account for a customer (staff). It has no password: the customer is sent a one-time code that sets one */
  @Post()
  @Access('staff', { scope: 'users:write' })
  @AnswerNotKept()
  @ApiProblems(400, 409)
  async createUser(@Body() { email, name, invite = true, metadata }: CreateUserRequest): Promise<UserResponse> {
    const { id, created } = await this.accounts.register({
      email,
      name,
      passwordHash: null,
      metadata: mergedMetadata({}, metadata),
    });
    const user = await this.accounts.get(id);
    // A repeat may be of a try that ended before the code was sent.
    if (invite && (created || !(await this.accounts.hasPassword(id)))) await this.signIn.sendCode(user);
    return userResponse(user);
  }

  /** All accounts, newest first (admin) */
  @Get()
  @Access('admin', { scope: 'users:read' })
  @ApiPage(UserResponse)
  @ApiProblems(400)
  async listUsers(@Query() { limit, after }: PageQuery): Promise<Page<UserResponse>> {
    const users = await this.accounts.list(limit + 1, accountOrder.decode(after));
    return pageOf(users, limit, accountOrder, userResponse);
  }

  /** One account (admin) */
  @Get(':id')
  @Access('admin', { scope: 'users:read' })
  @ApiProblems(400, 404)
  async getUser(@Param('id', ParseUUIDPipe) id: string): Promise<UserResponse> {
    return userResponse(await this.accounts.get(id));
  }

  /** Issue a one-time code that sets the account's password, to hand over to its owner (admin) */
  @Post(':id/password-reset')
  @Access('admin')
  @IdempotencyKeyIgnored()
  @ApiProblems(400, 404, 409)
  async issuePasswordCode(@Param('id', ParseUUIDPipe) id: string): Promise<OneTimeCodeResponse> {
    return this.signIn.issueCode(id);
  }

  /** Give and take roles (admin). Ends the account's access tokens; the last admin keeps the role */
  @Put(':id/roles')
  @Access('admin')
  @ApiIfMatch()
  @ApiProblems(400, 404, 409, 412)
  async assignRoles(
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatch() version: number | undefined,
    @Body() { roles }: AssignRolesRequest,
  ): Promise<UserResponse> {
    return userResponse(await this.accounts.assignRoles(id, roles, version));
  }

  /** Erase a person, as they could themselves (admin). The last admin cannot be erased */
  @Delete(':id')
  @Access('admin', { scope: 'users:write' })
  @HttpCode(204)
  @ApiProblems(400, 404, 409)
  async eraseUser(@Param('id', ParseUUIDPipe) id: string): Promise<void> {
    await this.accounts.erase(id);
  }

  /** Deactivate an account: no more sign-in, and its access tokens end at once (admin). The last admin cannot be */
  @Post(':id/deactivate')
  @Access('admin', { scope: 'users:write' })
  @HttpCode(200)
  @AnswerNotKept()
  @ApiProblems(400, 404, 409)
  async deactivateUser(@Param('id', ParseUUIDPipe) id: string): Promise<UserResponse> {
    return userResponse(await this.accounts.deactivate(id));
  }
}
