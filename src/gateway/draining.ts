import { Injectable } from '@nestjs/common';
import type { FastifyInstance } from 'fastify';
import { ProblemError } from '../kernel/http/problem';

/**
 * Whether the process is about to stop. It serves all requests until its listener closes, but is not ready any more: load
 * balancers have SHUTDOWN_DELAY to send requests elsewhere.
 */
@Injectable()
export class Draining {
  private drains = false;

  get begun(): boolean {
    return this.drains;
  }

  begin(): void {
    this.drains = true;
  }
}

/** Clients that keep a connection open take another one, to another process, for their next request. */
export function endConnections(fastify: FastifyInstance, draining: Draining): void {
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining.begun) void reply.header('Connection', 'close');
    done();
  });
}

/** What is told to whoever has to turn to another process. */
export function shuttingDown(details: Readonly<Record<string, unknown>> = {}): ProblemError {
  const headers = { 'Retry-After': '2', Connection: 'close' };
  return new ProblemError(503, 'shutting-down', 'This process is shutting down. Try again shortly.', details, headers);
}
