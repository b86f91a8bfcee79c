import { once } from 'node:events';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Config } from '../config/config';
import { arrivalLimits, connectionTimeout, keepAliveTimeout } from '../gateway/connection-limits';
import { idleConnections } from '../gateway/idle-connections';
import { answerUnreadable, refuseTunnels } from '../gateway/unreadable-requests';
import type { Backend } from './backend';
import { Exchange } from './exchange';
import { trusting } from './forwarded';
import { refuse } from './refuse';

/**
 * Spreads requests over replicas: each goes to a ready one with the fewest requests in flight. Requests and responses pass
 * as streams, so that `Prefer: wait` and server-sent events work as they do without it.
 */
export class Balancer {
  private readonly server: Server;
  private readonly isTrusted: (address: string) => boolean;
  private readonly endIdle: () => void;
  private closing = false;
  private turn = 0;

  /** @param backends asked for each request */
  constructor(
    private readonly config: Config,
    private readonly backends: () => readonly Backend[],
  ) {
    this.isTrusted = trusting(config.TRUSTED_PROXIES);
    const answer = (request: IncomingMessage, response: ServerResponse) => this.answer(request, response);
    this.server = createServer({ ...arrivalLimits(config), keepAliveTimeout }, answer);
    this.server.timeout = connectionTimeout;
    this.server.maxConnections = config.MAX_CONNECTIONS;
    this.endIdle = idleConnections(this.server);
    this.server.on('checkExpectation', answer);
    this.server.on('clientError', answerUnreadable);
    refuseTunnels({ server: this.server });
  }

  /** @returns the URL to reach it. @throws Error with the code EADDRINUSE or EACCES */
  async listen(): Promise<string> {
    this.server.listen(this.config.PORT, this.config.HOST);
    await once(this.server, 'listening');
    const { address, family, port } = this.server.address() as AddressInfo;
    return `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  }

  /** Takes no more requests, and resolves when those in flight have been answered. */
  async close(): Promise<void> {
    if (!this.server.listening) return;
    this.closing = true;
    const closed = once(this.server, 'close');
    this.server.close();
    this.endIdle();
    await closed;
  }

  private answer(request: IncomingMessage, response: ServerResponse): void {
    if (this.closing) return refuse(request, response, 'shutting-down');
    // as a replica refuses it, which is sent only one
    if ((request.headersDistinct.host ?? []).length > 1) return refuse(request, response, 'host-ambiguous');
    const choose = (tried: ReadonlySet<Backend>) => this.choose(tried);
    new Exchange(request, response, this.isTrusted, choose, () => this.closing).begin();
  }

  private choose(tried: ReadonlySet<Backend>): Backend | undefined {
    const ready = this.backends().filter((backend) => backend.isReady && !tried.has(backend));
    const fewest = Math.min(...ready.map(({ inFlight }) => inFlight));
    const candidates = ready.filter(({ inFlight }) => inFlight === fewest);
    return candidates[this.turn++ % candidates.length];
  }
}
