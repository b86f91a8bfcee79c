import { connect, type Socket } from 'node:net';

export interface Reply {
  readonly status: number;
  /** By their names in small letters. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: Buffer;
  /** From the first byte sent to the last byte received. */
  readonly ms: number;
}

/** No complete answer, and why. */
export interface Lost {
  readonly lost: 'timeout' | 'closed' | 'aborted';
  readonly detail: string;
  readonly ms: number;
}

export interface SendOptions {
  readonly timeoutMs: number;
  /** An answer to it has no body. */
  readonly head?: boolean;
  /** Go away without waiting for the answer. */
  readonly abort?: boolean;
  /** Say that nothing more will come: for what may not be a whole request. */
  readonly end?: boolean;
  /** Whether the server may have understood it otherwise than it was meant, and waits for the rest of it. */
  readonly suspect?: boolean;
}

/**
 * HTTP/1.1 over a connection of its own that is kept alive, byte for byte as it is told: clients that check what they
 * send would refuse most of what is sent here.
 */
export class Connection {
  private socket: Socket | undefined;

  constructor(
    private readonly port: number,
    private readonly host: string,
  ) {}

  async send(bytes: Buffer, options: SendOptions): Promise<Reply | Lost> {
    const reused = this.socket !== undefined;
    const first = await this.attempt(bytes, options);
    // the server may close a connection that is idle just when it is used again
    return reused && 'lost' in first && first.lost === 'closed' ? this.attempt(bytes, options) : first;
  }

  close(): void {
    this.socket?.destroy();
    this.socket = undefined;
  }

  private attempt(
    bytes: Buffer,
    { timeoutMs, head = false, abort = false, end = false, suspect = false }: SendOptions,
  ): Promise<Reply | Lost> {
    const socket = (this.socket ??= connect({ port: this.port, host: this.host, noDelay: true }));
    const parser = new Parser(head);
    const begun = performance.now();
    return new Promise((resolve) => {
      let finished = false;
      const finish = (outcome: Reply | Lost, keep: boolean) => {
        // a request that was to be given up may have been answered before, and its connection used again
        if (finished) return;
        finished = true;
        clearTimeout(timer);
        socket.removeAllListeners('data').removeAllListeners('error').removeAllListeners('close');
        socket.on('error', () => undefined);
        if (!keep) this.close();
        resolve(outcome);
      };
      const ms = () => performance.now() - begun;
      const lose = (lost: Lost['lost'], detail: string) => finish({ lost, detail, ms: ms() }, false);
      const complete = () =>
        finish({ ...parser.reply(), ms: ms() }, !end && !suspect && socket.writableLength === 0 && parser.keepAlive);
      const timer = setTimeout(() => lose('timeout', `no answer after ${timeoutMs} ms`), timeoutMs);
      let failure = nothing;
      socket.on('data', (chunk) => {
        parser.push(chunk);
        if (parser.complete) complete();
      });
      socket.on('error', (error: NodeJS.ErrnoException) => (failure = error.code ?? error.message));
      socket.on('close', () => {
        parser.end();
        if (parser.complete) complete();
        else lose('closed', parser.begun ? `an answer that breaks off: ${failure}` : failure);
      });
      if (abort) socket.write(bytes, () => setTimeout(() => lose('aborted', 'as planned'), 2));
      else if (end) socket.end(bytes);
      else socket.write(bytes);
    });
  }
}

const nothing = 'no answer';

/** Of one answer; interim ones are skipped. */
class Parser {
  private chunks: Buffer[] = [];
  private length = 0;
  private head: { status: number; headers: Map<string, string>; end: number } | undefined;
  private body: Buffer | undefined;

  constructor(private readonly bodiless: boolean) {}

  get complete(): boolean {
    return this.body !== undefined;
  }

  get begun(): boolean {
    return this.length > 0;
  }

  get keepAlive(): boolean {
    return this.head?.headers.get('connection')?.toLowerCase() !== 'close';
  }

  push(chunk: Buffer): void {
    this.chunks.push(chunk);
    this.length += chunk.length;
    while (!this.head) {
      const all = this.all();
      const end = all.indexOf('\r\n\r\n');
      if (end < 0) return;
      this.head = parseHead(all.subarray(0, end).toString('latin1'), end + 4);
      if (this.head.status >= 200) break;
      this.chunks = [all.subarray(this.head.end)];
      this.length = this.chunks[0]!.length;
      this.head = undefined;
    }
    this.read(false);
  }

  end(): void {
    if (this.head) this.read(true);
  }

  reply(): Omit<Reply, 'ms'> {
    return { status: this.head!.status, headers: this.head!.headers, body: this.body! };
  }

  private read(ended: boolean): void {
    const { status, headers, end } = this.head!;
    const length = headers.get('content-length');
    if (this.bodiless || status === 204 || status === 304) this.body = Buffer.alloc(0);
    else if (length !== undefined) {
      if (this.length - end >= Number(length)) this.body = this.all().subarray(end, end + Number(length));
    } else if (/chunked/i.test(headers.get('transfer-encoding') ?? '')) this.body = unchunk(this.all().subarray(end));
    else if (ended) this.body = this.all().subarray(end);
  }

  private all(): Buffer {
    if (this.chunks.length > 1) this.chunks = [Buffer.concat(this.chunks)];
    return this.chunks[0]!;
  }
}

function parseHead(text: string, end: number) {
  const [first, ...lines] = text.split('\r\n');
  const headers = new Map<string, string>();
  for (const line of lines) {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).toLowerCase();
    const value = line.slice(colon + 1).trim();
    headers.set(name, headers.has(name) ? `${headers.get(name)}, ${value}` : value);
  }
  return { status: Number(/^HTTP\/1\.[01] (\d{3})/.exec(first!)?.[1] ?? 0), headers, end };
}

/** undefined while its last chunk is missing. */
function unchunk(bytes: Buffer): Buffer | undefined {
  const parts: Buffer[] = [];
  for (let at = 0; ;) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) return undefined;
    const size = parseInt(bytes.toString('latin1', at, line), 16);
    if (size === 0) return bytes.indexOf('\r\n', line + 2) < 0 ? undefined : Buffer.concat(parts);
    if (bytes.length < line + 2 + size + 2) return undefined;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
}
