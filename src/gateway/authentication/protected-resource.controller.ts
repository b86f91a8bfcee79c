import { Controller, Get, Param, Req, VERSION_NEUTRAL } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { Config } from '../../config/config';
import { Public } from '../../kernel/http/access';
import { ApiProblems } from '../../kernel/http/api-problems';
import { ProblemError } from '../../kernel/http/problem';
import { scopes } from '../../kernel/http/scopes';
import { publicUrl } from '../public-url';

const path = '.well-known/oauth-protected-resource';

/** Not that of the metrics, whose token no provider issues. */
const ourChallenge = 'Bearer realm="orderloom"';

/** Paths below which clients may see a resource of its own. */
const resources = ['v1'];

class ProtectedResourceMetadata {
  /** @example 'https://shop.example.com' */
  resource!: string;

  /** Issuers of the access tokens that are accepted.
   * @example ['https://login.example.com/realms/shop'] */
  authorization_servers!: string[];

  /** @example ['orders:read'] */
  scopes_supported!: string[];

  /** @example ['header'] */
  bearer_methods_supported!: string[];

  resource_name!: string;
}

/** Tells clients where to sign in (RFC 9728). Only where an identity provider is configured. */
@ApiTags('auth')
@Controller({ path, version: VERSION_NEUTRAL })
export class ProtectedResourceController {
  constructor(private readonly config: Config) {}

  /** Where to sign in for this API, for clients that find out by themselves (RFC 9728) */
  @Get()
  @Public()
  protectedResource(@Req() request: FastifyRequest): ProtectedResourceMetadata {
    return this.metadata(request, '');
  }

  /** The same for the part of the API below a path */
  @Get(':path')
  @Public()
  @ApiProblems(404)
  protectedResourceBelow(@Req() request: FastifyRequest, @Param('path') below: string): ProtectedResourceMetadata {
    if (!resources.includes(below)) {
      throw new ProblemError(404, 'resource-unknown', `There is no protected resource at /${below}: see /${path}.`);
    }
    return this.metadata(request, `/${below}`);
  }

  private metadata(request: FastifyRequest, below: string): ProtectedResourceMetadata {
    return {
      resource: `${publicUrl(this.config, request) ?? ''}${below}`,
      authorization_servers: [this.config.OIDC_ISSUER!],
      scopes_supported: Object.keys(scopes),
      bearer_methods_supported: ['header'],
      resource_name: 'Orderloom',
    };
  }
}

/** Adds to every challenge of ours where to find that out, whoever made the challenge. */
export function leadToSignIn(fastify: FastifyInstance, config: Config): void {
  fastify.addHook('onSend', (request, reply, _payload, done) => {
    const challenge = reply.getHeader('www-authenticate');
    const url = challenge === undefined ? undefined : publicUrl(config, request);
    if (url && String(challenge).startsWith(ourChallenge)) {
      void reply.header('www-authenticate', `${String(challenge)}, resource_metadata="${url}/${path}"`);
    }
    done();
  });
}
