import { Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Config } from '../../config/config';
import { currentContext } from '../../kernel/context';
import { addressKey } from '../../kernel/http/client-address';
import type { AuthenticatedRequest, Principal } from '../../kernel/http/principal';
import { ProblemError } from '../../kernel/http/problem';
import type { RateClass, RateClassConfig } from '../../kernel/http/rate-class';
import { AuthenticationGuard } from '../authentication/authentication.guard';
import type { Limit } from './permit-store';
import { Permits } from './permits';

interface Rule extends Limit {
  readonly rateClass: RateClass;
  /** As `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-10). */
  readonly policy: string;
}

/** Limits the requests of each account, and of each address that is not signed in, by class of operation. */
@Injectable()
export class RateLimits {
  private readonly rules: Readonly<Record<Exclude<RateClass, 'none'>, Rule | undefined>>;

  constructor(
    private readonly permits: Permits,
    private readonly authentication: AuthenticationGuard,
    config: Config,
  ) {
    const rule = (rateClass: RateClass, limit: Limit | 'off'): Rule | undefined => {
      if (limit === 'off') return undefined;
      const { quota, seconds } = limit;
      return { rateClass, quota, seconds, policy: `"${rateClass}";q=${quota};w=${seconds}` };
    };
    this.rules = {
      read: rule('read', config.RATE_LIMIT_READ),
      write: rule('write', config.RATE_LIMIT_WRITE),
      'sign-in': rule('sign-in', config.RATE_LIMIT_SIGN_IN),
    };
  }

  /**
   * Counts a request before its body is read: for the account of a good credential, and for the address when there is
   * none, a wrong one, or one that cannot be verified just now: anybody can send that, and need not have one for what is
   * public. Who signs in is an address still, whatever else is sent.
   *
   * @throws ProblemError 429
   */
  async admit(request: AuthenticatedRequest, reply: FastifyReply): Promise<void> {
    const rateClass = classOf(request);
    if (rateClass === 'none') return;
    const { authorization, 'x-api-key': apiKey } = request.headers;
    const claims = (authorization !== undefined || apiKey !== undefined) && rateClass !== 'sign-in';
    const identity = claims ? await this.authentication.identify(request) : undefined;
    const principal = identity instanceof Error ? undefined : identity;
    const rule = this.rules[rateClass];
    if (rule) await this.count(rule, principal, request, reply);
  }

  private async count(rule: Rule, principal: Principal | undefined, request: FastifyRequest, reply: FastifyReply) {
    const { rateClass, quota, seconds, policy } = rule;
    // with the limit, so that a changed one begins a new window
    const key = `${rateClass} ${quota}/${seconds} ${principal?.userId ?? addressKey(request.ip)}`;
    const counted = this.permits.take(key, rule);
    const { allowed, remaining, resetsInMs } = counted instanceof Promise ? await counted : counted;
    const wait = Math.max(1, Math.ceil(resetsInMs / 1000));
    void reply.header('RateLimit-Policy', policy).header('RateLimit', `"${rateClass}";r=${remaining};t=${wait}`);
    if (allowed) return;
    if (principal) currentContext().actor = principal.actor;
    const whom = principal ? 'for this account' : 'from this address';
    const detail = `More than ${quota} ${rateClass} requests ${whom} within ${seconds} s. Try again in ${wait} s.`;
    throw new ProblemError(429, 'rate-limited', detail, {}, { 'Retry-After': String(wait) });
  }
}

function classOf({ method, routeOptions }: FastifyRequest): RateClass {
  const { rateClass } = (routeOptions.config ?? {}) as RateClassConfig;
  return rateClass ?? (method === 'GET' || method === 'HEAD' ? 'read' : 'write');
}

/** Before routes are added, and behind what refuses requests for less. */
export function limitRates(fastify: FastifyInstance, limits: RateLimits): void {
  fastify.addHook('onRequest', (request, reply) => limits.admit(request, reply));
}
