import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { OAuth2Issuer, OAuth2Service } from 'oauth2-mock-server';

export interface TokenChange {
  readonly header?: Record<string, unknown>;
  /** An undefined member takes a claim away. */
  readonly claims?: Record<string, unknown>;
  /** Of the key that signs it. */
  readonly kid?: string;
}

/** An OpenID provider on a port of its own. */
export class IdentityProvider {
  /** Paths of the requests that it got. */
  readonly requests: string[] = [];
  /** In place of its own answers. */
  answer: RequestListener | undefined;

  private constructor(
    readonly service: OAuth2Service,
    private server: Server,
    readonly port: number,
  ) {}

  static async start(): Promise<IdentityProvider> {
    const issuer = new OAuth2Issuer();
    await issuer.keys.generate('RS256', { kid: 'first' });
    const provider = new IdentityProvider(new OAuth2Service(issuer), ...(await listen(0)));
    issuer.url = `http://127.0.0.1:${provider.port}`;
    provider.serve();
    return provider;
  }

  get issuer(): string {
    return this.service.issuer.url!;
  }

  /** Settings of an app that accepts its tokens. */
  get env(): Record<string, string> {
    return { OIDC_ISSUER: this.issuer, OIDC_AUDIENCE: 'orderloom-api' };
  }

  /** An access token of a new person, unless `claims` says whose. */
  token({ header, claims, kid = 'first' }: TokenChange = {}): Promise<string> {
    return this.service.issuer.buildToken({
      kid,
      scopesOrTransform: (madeHeader, payload) => {
        Object.assign(payload, { aud: 'orderloom-api', sub: randomUUID() }, claims);
        Object.assign(madeHeader, header);
      },
    });
  }

  addKey(kid: string, alg = 'RS256'): Promise<unknown> {
    return this.service.issuer.keys.generate(alg, { kid });
  }

  /** Away: connections are refused. */
  async stop(): Promise<void> {
    this.server.closeAllConnections();
    this.server.close();
    if (this.server.listening) await once(this.server, 'close');
  }

  async restart(): Promise<void> {
    [this.server] = await listen(this.port);
    this.serve();
  }

  private serve(): void {
    this.server.on('request', (request, response) => {
      this.requests.push(request.url!);
      (this.answer ?? this.service.requestHandler)(request, response);
    });
  }
}

async function listen(port: number): Promise<[Server, number]> {
  const server = createServer().listen(port, '127.0.0.1');
  await once(server, 'listening');
  return [server, (server.address() as AddressInfo).port];
}
