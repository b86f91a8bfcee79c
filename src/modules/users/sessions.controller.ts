import { Controller, Delete, Get, HttpCode, Param, ParseUUIDPipe, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { DomainError } from '../../kernel/domain-error';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ApiPage, type Page, pageOf, PageQuery } from '../../kernel/http/page';
import { CurrentPrincipal, type Principal } from '../../kernel/http/principal';
import { Accounts } from './accounts';
import { sessionOrder, Sessions } from './sessions';
import { SessionResponse, sessionResponse } from './sessions-api';

/** Without scopes: a limited credential must not learn of other credentials, or end them. */
@ApiTags('users')
@Controller('v1/users')
export class SessionsController {
  constructor(
    private readonly sessions: Sessions,
    private readonly accounts: Accounts,
  ) {}

  /** Your sessions, newest first */
  @Get('me/sessions')
  @Access('customer', { own: true })
  @ApiPage(SessionResponse)
  @ApiProblems(400)
  async listMySessions(
    @CurrentPrincipal() { userId, sessionId }: Principal,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<SessionResponse>> {
    const sessions = await this.sessions.list(userId, limit + 1, sessionOrder.decode(after));
    return pageOf(sessions, limit, sessionOrder, sessionResponse(sessionId));
  }

  /** End one of your sessions. Its access tokens end at once */
  @Delete('me/sessions/:id')
  @HttpCode(204)
  @Access('customer', { own: true })
  @ApiProblems(400, 404)
  async endMySession(@CurrentPrincipal() { userId }: Principal, @Param('id', ParseUUIDPipe) id: string): Promise<void> {
    if (await this.sessions.endOne(userId, id, 'ended-by-owner')) return;
    throw new DomainError('not-found', 'session-unknown', 'You have no such session, or it has ended.');
  }

  /** End all your other sessions: sign out everywhere else */
  @Delete('me/sessions')
  @HttpCode(204)
  @Access('customer', { own: true })
  async endMyOtherSessions(@CurrentPrincipal() { userId, sessionId }: Principal): Promise<void> {
    await this.sessions.endAll(userId, 'ended-by-owner', sessionId);
  }

  /** Sessions of an account, newest first */
  @Get(':id/sessions')
  @Access('admin')
  @ApiPage(SessionResponse)
  @ApiProblems(400, 404)
  async listSessions(
    @CurrentPrincipal() { sessionId }: Principal,
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<SessionResponse>> {
    await this.accounts.get(id);
    const sessions = await this.sessions.list(id, limit + 1, sessionOrder.decode(after));
    return pageOf(sessions, limit, sessionOrder, sessionResponse(sessionId));
  }

  /** End all sessions of an account: sign somebody out everywhere */
  @Delete(':id/sessions')
  @HttpCode(204)
  @Access('admin')
  @ApiProblems(400, 404)
  async endSessions(@Param('id', ParseUUIDPipe) id: string): Promise<void> {
    await this.accounts.get(id);
    await this.sessions.endAll(id, 'ended-by-admin');
  }
}
