import { Body, Controller, Delete, Get, HttpCode, Param, ParseUUIDPipe, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import { Access } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { IdempotencyKeyIgnored } from '../../kernel/http/idempotency';
import { ApiPage, type Page, pageOf, PageQuery } from '../../kernel/http/page';
import { CurrentPrincipal, type Principal } from '../../kernel/http/principal';
import { Accounts } from './accounts';
import { apiKeyOrder, ApiKeys } from './api-keys';
import { ApiKeyResponse, apiKeyResponse, CreateApiKeyRequest, CreatedApiKeyResponse } from './api-keys-api';

/** Without scopes: a key must not make further keys, learn of others, or end them. */
@ApiTags('auth')
@Controller('v1')
export class ApiKeysController {
  constructor(
    private readonly keys: ApiKeys,
    private readonly accounts: Accounts,
  ) {}

  /** Your API keys, newest first */
  @Get('api-keys')
  @Access('customer', { own: true })
  @ApiPage(ApiKeyResponse)
  @ApiProblems(400)
  async listApiKeys(
    @CurrentPrincipal() { userId }: Principal,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<ApiKeyResponse>> {
    return pageOf(
      await this.keys.list(userId, limit + 1, apiKeyOrder.decode(after)),
      limit,
      apiKeyOrder,
      apiKeyResponse,
    );
  }

  /**
   * Create an API key, for a program that acts for your account
   *
   * It may do what your account may, as far as its scopes allow it. The key is shown only in this response, so a repeat makes
   * another one, also with the same `Idempotency-Key`. Keys end with a change of the password.
   */
  @Post('api-keys')
  @IdempotencyKeyIgnored()
  @Access('customer', { own: true })
  @ApiProblems(400, 409, 422)
  async createApiKey(
    @CurrentPrincipal() { userId }: Principal,
    @Body() request: CreateApiKeyRequest,
  ): Promise<CreatedApiKeyResponse> {
    const { key, row } = await this.keys.create(userId, request);
    return { ...apiKeyResponse(row), key };
  }

  /** End one of your API keys, at once */
  @Delete('api-keys/:id')
  @HttpCode(204)
  @Access('customer', { own: true })
  @ApiProblems(400, 404)
  async endApiKey(@CurrentPrincipal() { userId }: Principal, @Param('id', ParseUUIDPipe) id: string): Promise<void> {
    await this.keys.end(userId, id, 'ended-by-owner');
  }

  /** API keys of an account, newest first */
  @Get('users/:id/api-keys')
  @Access('admin')
  @ApiPage(ApiKeyResponse)
  @ApiProblems(400, 404)
  async listApiKeysOf(
    @Param('id', ParseUUIDPipe) id: string,
    @Query() { limit, after }: PageQuery,
  ): Promise<Page<ApiKeyResponse>> {
    await this.accounts.get(id);
    return pageOf(await this.keys.list(id, limit + 1, apiKeyOrder.decode(after)), limit, apiKeyOrder, apiKeyResponse);
  }

  /** End an API key of an account, at once */
  @Delete('users/:id/api-keys/:keyId')
  @HttpCode(204)
  @Access('admin')
  @ApiProblems(400, 404)
  async endApiKeyOf(
    @Param('id', ParseUUIDPipe) id: string,
    @Param('keyId', ParseUUIDPipe) keyId: string,
  ): Promise<void> {
    await this.keys.end(id, keyId, 'ended-by-admin');
  }
}
