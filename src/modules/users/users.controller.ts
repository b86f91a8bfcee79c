import { Body, Controller, Delete, Get, HttpCode, Param, ParseUUIDPipe, Patch, Post, Put, Query } from '@nestjs/common';
import { ApiSecurity, ApiTags } from '@nestjs/swagger';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiIfMatch, IfMatch } from '../../kernel/http/conditional';
import { AnswerNotKept } from '../../kernel/http/idempotency';
import { ApiPage, type Page, pageOf, PageQuery, readCursor } from '../../kernel/http/page';
import { CurrentPrincipal, type Principal, Roles } from '../../kernel/http/principal';
import { Accounts } from './accounts';
import { AssignRolesRequest, CreateUserRequest, UpdateProfileRequest, UserResponse, userResponse } from './api';

@ApiTags('users')
@ApiSecurity('password')
@ApiProblems(401)
@Controller('v1/users')
export class UsersController {
  constructor(private readonly accounts: Accounts) {}

  /** Your own account */
  @Get('me')
  @ApiProblems(404)
  async getMe(@CurrentPrincipal() me: Principal): Promise<UserResponse> {
    return userResponse(await this.accounts.get(me.userId));
  }

  /** Change your name */
  @Patch('me')
  @ApiIfMatch(true)
  @ApiProblems(400, 404, 409, 412, 428)
  async updateMe(
    @CurrentPrincipal() me: Principal,
    @IfMatch('required') version: number,
    @Body() { name }: UpdateProfileRequest,
  ): Promise<UserResponse> {
    return userResponse(await this.accounts.rename(me.userId, name, version));
  }

  /** Erase yourself: name, addresses, sign-in. What has not been shipped is cancelled and refunded; this cannot be undone */
  @Delete('me')
  @HttpCode(204)
  @ApiProblems(404, 409)
  async eraseMe(@CurrentPrincipal() me: Principal): Promise<void> {
    await this.accounts.erase(me.userId);
  }

  /** Open an account for a customer, without a password (staff) */
  @Post()
  @AnswerNotKept()
  @Roles('staff')
  @ApiProblems(400, 403, 409)
  async createUser(@Body() { email, name }: CreateUserRequest): Promise<UserResponse> {
    return userResponse(await this.accounts.get(await this.accounts.register(email, name, undefined)));
  }

  /** All accounts, newest first (admin) */
  @Get()
  @Roles('admin')
  @ApiPage(UserResponse)
  @ApiProblems(400, 403)
  async listUsers(@Query() { limit, after }: PageQuery): Promise<Page<UserResponse>> {
    const id = readCursor(after, 'uuid');
    const users = await this.accounts.list(limit + 1, id);
    return pageOf(users.map(userResponse), limit, (user) => user.id);
  }

  /** One account (admin) */
  @Get(':id')
  @Roles('admin')
  @ApiProblems(400, 403, 404)
  async getUser(@Param('id', ParseUUIDPipe) id: string): Promise<UserResponse> {
    return userResponse(await this.accounts.get(id));
  }

  /** Give and take roles (admin); the last admin stays */
  @Put(':id/roles')
  @Roles('admin')
  @ApiIfMatch()
  @ApiProblems(400, 403, 404, 409, 412)
  async assignRoles(
    @Param('id', ParseUUIDPipe) id: string,
    @IfMatch() version: number | undefined,
    @Body() { roles }: AssignRolesRequest,
  ): Promise<UserResponse> {
    return userResponse(await this.accounts.assignRoles(id, roles, version));
  }

  /** Erase a person, as they could themselves (admin); the last admin stays */
  @Delete(':id')
  @HttpCode(204)
  @Roles('admin')
  @ApiProblems(400, 403, 404, 409)
  async eraseUser(@Param('id', ParseUUIDPipe) id: string): Promise<void> {
    await this.accounts.erase(id);
  }

  /** No more sign-in for this account (admin); the last admin stays */
  @Post(':id/deactivate')
  @HttpCode(200)
  @AnswerNotKept()
  @Roles('admin')
  @ApiProblems(400, 403, 404, 409)
  async deactivateUser(@Param('id', ParseUUIDPipe) id: string): Promise<UserResponse> {
    return userResponse(await this.accounts.deactivate(id));
  }
}
