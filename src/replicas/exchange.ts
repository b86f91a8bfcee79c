import { type ClientRequest, type IncomingMessage, request as open, type ServerResponse } from 'node:http';
import { type Backend, loopback } from './backend';
import { forwardedHeaders, returnedHeaders } from './forwarded';
import { refuse } from './refuse';

/** They change nothing (RFC 9110, 9.2.1), so that a replica may be asked what another one has not answered. */
const safeMethods = new Set(['GET', 'HEAD', 'OPTIONS']);

/**
 * One request on its way to a replica, and its response on the way back.
 *
 * It goes to another replica only if nothing of it has been sent, or if it changes nothing and has no body. Any other one
 * that is not answered may have been carried out: its client is told so, and repeats it with its Idempotency-Key.
 */
export class Exchange {
  private readonly tried = new Set<Backend>();
  private readonly hasBody: boolean;
  private upstream: ClientRequest | undefined;

  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly isTrusted: (address: string) => boolean,
    private readonly choose: (tried: ReadonlySet<Backend>) => Backend | undefined,
    private readonly isLast: () => boolean,
  ) {
    const { headers } = request;
    this.hasBody = headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
  }

  begin(): void {
    // The client has gone, or has its response, which may come before all of its request was read.
    this.response.once('close', () => this.upstream?.destroy());
    this.attempt('no-replica-ready');
  }

  /** @param otherwise what the client is told if there is no replica to ask */
  private attempt(otherwise: 'no-replica-ready' | 'replica-lost'): void {
    const backend = this.choose(this.tried);
    if (!backend) return refuse(this.request, this.response, otherwise);
    this.tried.add(backend);
    const { method, url: path } = this.request;
    let upstream: ClientRequest;
    try {
      const headers = forwardedHeaders(this.request, this.isTrusted);
      const { port, agent } = backend;
      upstream = open({ host: loopback, port, agent, method, path, headers, setHost: false });
    } catch {
      // Node reads some characters that it does not send
      return refuse(this.request, this.response, 'malformed-http');
    }
    this.upstream = upstream;
    let isSent = false;
    const send = () => {
      isSent = true;
      if (this.hasBody) this.request.pipe(upstream);
      else upstream.end();
    };
    backend.inFlight++;
    upstream
      // nothing is sent before the connection is there
      .once('socket', (socket) => (socket.connecting ? socket.once('connect', send) : send()))
      .once('response', (answer) => this.passBack(answer))
      .once('close', () => {
        backend.inFlight--;
        // what is left of a body that the replica has refused: a client may read the response only after it has sent all
        if (this.upstream === upstream) this.request.unpipe(upstream).resume();
      })
      .on('error', () => {
        this.request.unpipe(upstream);
        if (this.response.headersSent || this.response.destroyed || this.upstream !== upstream) return;
        if (!isSent) {
          backend.lost();
          return this.attempt('no-replica-ready');
        }
        if (safeMethods.has(method!) && !this.hasBody) return this.attempt('replica-lost');
        refuse(this.request, this.response, 'replica-lost');
      });
  }

  private passBack(answer: IncomingMessage): void {
    const { response } = this;
    const headers = returnedHeaders(answer);
    if (this.isLast()) headers.push('Connection', 'close');
    response.writeHead(answer.statusCode!, answer.statusMessage, headers);
    if (answer.headers['content-type']?.startsWith('text/event-stream')) response.flushHeaders();
    // the replica ended in the middle: the client must not take what it has for the whole
    answer.once('error', () => response.destroy());
    answer.pipe(response);
  }
}
