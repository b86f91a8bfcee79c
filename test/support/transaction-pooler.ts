import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { Client } from 'pg';

const READY_FOR_QUERY = 'Z'.charCodeAt(0);
const IDLE = 'I'.charCodeAt(0);
const TERMINATE = 'X'.charCodeAt(0);

/** A session of the server, which clients use in turns. */
interface Session {
  readonly stream: Socket;
  user: Socket | undefined;
}

/**
 * A pooler in transaction mode, as PgBouncer with `pool_mode = transaction`: a client is lent a session from its first
 * message until the server is idle again, the one that was returned last. It lets in everybody, and makes up a process id.
 */
export class TransactionPooler {
  private readonly server: Server;
  private readonly idle: Session[] = [];
  private readonly all: Session[] = [];
  private clients = 0;

  /** @param url of the server, with the role that all sessions have */
  constructor(private readonly url: string) {
    this.server = createServer((client) => this.serve(client));
  }

  /** Resolves to the URL that leads through it. */
  async open(): Promise<string> {
    await new Promise<void>((resolve) => this.server.listen(0, '127.0.0.1', resolve));
    const { port } = this.server.address() as AddressInfo;
    return Object.assign(new URL(this.url), { host: `127.0.0.1:${port}` }).href;
  }

  async close(): Promise<void> {
    for (const { stream, user } of this.all) {
      stream.destroy();
      user?.destroy();
    }
    await new Promise((resolve) => this.server.close(resolve));
  }

  private serve(client: Socket): void {
    let begun = false;
    let session: Session | undefined;
    let lending = Promise.resolve();
    client.on('error', () => undefined);
    client.on('close', () => session?.user === client && session.stream.destroy());
    client.on('data', (bytes) => {
      if (!begun) {
        begun = true;
        client.write(this.greeting());
      } else if (bytes[0] !== TERMINATE) {
        lending = lending.then(async () => {
          if (session?.user !== client) session = await this.lend(client);
          session.stream.write(bytes);
        });
      }
    });
  }

  /** AuthenticationOk, ParameterStatus, BackendKeyData with a process id that no server has, ReadyForQuery. */
  private greeting(): Buffer {
    const message = (type: string, body: Buffer) => {
      const head = Buffer.alloc(5);
      head.write(type);
      head.writeInt32BE(body.length + 4, 1);
      return Buffer.concat([head, body]);
    };
    const key = Buffer.alloc(8);
    key.writeInt32BE(1_000_000_000 + ++this.clients);
    return Buffer.concat([
      message('R', Buffer.alloc(4)),
      message('S', Buffer.from('client_encoding\0UTF8\0')),
      message('K', key),
      message('Z', Buffer.from('I')),
    ]);
  }

  private async lend(client: Socket): Promise<Session> {
    const session = this.idle.pop() ?? (await this.connect());
    session.user = client;
    return session;
  }

  /** Signs in with `pg`, and then uses its socket. */
  private async connect(): Promise<Session> {
    const client = new Client({ connectionString: this.url });
    client.on('error', () => undefined);
    await client.connect();
    const { stream } = (client as unknown as { connection: { stream: Socket } }).connection;
    stream.removeAllListeners('data');
    stream.on('error', () => undefined);
    const session: Session = { stream, user: undefined };
    this.all.push(session);
    let rest = Buffer.alloc(0);
    stream.on('data', (bytes: Buffer) => {
      session.user?.write(bytes);
      rest = Buffer.concat([rest, bytes]);
      while (rest.length >= 5 && rest.length > rest.readInt32BE(1)) {
        const isIdle = rest[0] === READY_FOR_QUERY && rest[5] === IDLE;
        rest = rest.subarray(rest.readInt32BE(1) + 1);
        if (!isIdle || rest.length > 0) continue;
        session.user = undefined;
        this.idle.push(session);
      }
    });
    return session;
  }
}
