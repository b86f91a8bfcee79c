import { connect, type Socket } from 'node:net';
import type { Json } from './api';

export interface RawAnswer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Json;
  /** The whole answer, in characters. */
  readonly length: number;
  /** ms from the connection to its end. */
  readonly took: number;
}

/** A connection on which a test writes what no HTTP client would, as slowly as it likes. */
export class RawConnection {
  private readonly began = performance.now();
  private readonly socket: Socket;
  private received = '';
  private written = Promise.resolve();
  /** The answer, once the server has closed the connection; status 0 when it closed it without one. */
  readonly answered: Promise<RawAnswer>;

  constructor(url: string, sent = '') {
    const { hostname, port } = new URL(url);
    this.socket = connect(Number(port), hostname);
    this.socket.setEncoding('utf8').on('data', (text: string) => (this.received += text));
    // a reset is one way to be refused; what counts is what came before it
    this.socket.on('error', () => undefined);
    this.answered = new Promise((resolve) => this.socket.once('close', () => resolve(this.answer())));
    if (sent !== '') this.write(sent);
  }

  write(text: string | Buffer): void {
    // the callback comes with an error too, when the connection ends first
    this.written = new Promise((resolve) => this.socket.write(text, () => resolve()));
  }

  /** Resolves when all that was written has been given to the operating system, or the connection has ended. */
  flushed(): Promise<void> {
    return this.written;
  }

  /** As a client does that crashes. */
  reset(): void {
    this.socket.resetAndDestroy();
  }

  private answer(): RawAnswer {
    const end = this.received.indexOf('\r\n\r\n');
    const [first = '', ...lines] = this.received.slice(0, Math.max(end, 0)).split('\r\n');
    const headers = lines.map((line) => line.split(': ') as [string, string]);
    const body = this.received.slice(end + 4);
    return {
      status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(first)?.[1] ?? 0),
      headers: Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value])),
      body: body.startsWith('{') ? JSON.parse(body) : body,
      length: this.received.length,
      took: performance.now() - this.began,
    };
  }
}
