import { createServer, type IncomingMessage, type RequestListener, request, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { readConfig } from '../../src/config/config';
import { Backend } from '../../src/replicas/backend';
import { Balancer } from '../../src/replicas/balancer';
import { eventually } from '../kernel/support';
import { RawConnection } from '../support/raw-http';

const isCheck = ({ url }: IncomingMessage) => url === '/health/ready';

/** An HTTP server in place of a replica. */
class Stub {
  isReady = true;
  backend!: Backend;
  private readonly sockets = new Set<Socket>();
  readonly seen: IncomingMessage[] = [];

  private constructor(private readonly server: Server) {}

  static async open(answer: RequestListener): Promise<Stub> {
    const server = createServer((message, response) => {
      if (isCheck(message)) {
        response.writeHead(stub.isReady ? 200 : 503).end();
      } else {
        stub.seen.push(message);
        answer(message, response);
      }
    });
    const stub = new Stub(server);
    server.on('connection', (socket) => {
      stub.sockets.add(socket);
      socket.on('error', () => undefined).once('close', () => stub.sockets.delete(socket));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    stub.backend = new Backend((server.address() as AddressInfo).port);
    await eventually(() => stub.backend.isReady);
    return stub;
  }

  /** As kill -9 does it; health checks find out later. */
  kill(): void {
    this.server.close();
    for (const socket of this.sockets) socket.destroy();
  }

  end(): void {
    this.backend.close();
    this.kill();
  }
}

async function textOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of message) text += String(chunk);
  return text;
}

const named =
  (name: string): RequestListener =>
  (_message, response) =>
    void response.end(name);

const echo: RequestListener = (message, response) =>
  void textOf(message).then(
    (text) => response.end(text),
    () => undefined,
  );

describe('the balancer of the replicas', () => {
  const stubs: Stub[] = [];
  let balancer: Balancer;
  let url: string;

  const open = async (answers: RequestListener[], env: Record<string, string> = {}) => {
    for (const answer of answers) stubs.push(await Stub.open(answer));
    const config = readConfig({ PORT: '0', REQUEST_TIMEOUT_SECONDS: '1', ...env });
    balancer = new Balancer(config, () => stubs.map(({ backend }) => backend));
    url = await balancer.listen();
  };
  afterEach(async () => {
    for (const stub of stubs.splice(0)) stub.end();
    await balancer.close();
  });
  const codeOf = async (response: Response) => [response.status, ((await response.json()) as { code: string }).code];

  it('passes on method, address, headers and body, and passes back status, headers and body', async () => {
    await open([
      (message, response) => {
        response.writeHead(418, 'As It Is', ['X-One', 'a', 'X-Two', 'b', 'X-Two', 'c', 'ETag', '"7"']);
        void textOf(message).then((text) => response.end(text.toUpperCase()));
      },
    ]);
    const headers = { 'content-type': 'application/json', 'idempotency-key': 'a key', cookie: 'a=1' };
    const response = await fetch(`${url}/v1/a%2Fb/../c?x=1&x=%20`, { method: 'POST', headers, body: '{"a":1}' });
    expect([response.status, response.statusText, await response.text()]).toEqual([418, 'As It Is', '{"A":1}']);
    expect(response.headers.get('x-two')).toBe('b, c');
    expect(response.headers.get('etag')).toBe('"7"');
    const [seen] = stubs[0]!.seen;
    expect([seen!.method, seen!.url]).toEqual(['POST', '/v1/c?x=1&x=%20']);
    expect(seen!.headers).toMatchObject({ ...headers, host: new URL(url).host, 'content-length': '7' });
  });

  it('leaves an address as it was written', async () => {
    await open([named('a')]);
    await new RawConnection(url, 'GET /v1//a/../%zz?a=[] HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n').answered;
    expect(stubs[0]!.seen[0]!.url).toBe('/v1//a/../%zz?a=[]');
  });

  it('tells a replica where a request comes from, and believes only trusted proxies what they tell', async () => {
    const told = { 'x-forwarded-for': '192.0.2.7', 'x-forwarded-proto': 'https', 'x-forwarded-host': 'a.example' };
    await open([named('a')]);
    await fetch(url, { headers: told });
    await balancer.close();
    const [{ headers: plain }] = stubs[0]!.seen as [IncomingMessage];
    expect(plain).toMatchObject({ 'x-forwarded-for': '127.0.0.1', 'x-forwarded-proto': 'http' });
    expect(plain).not.toHaveProperty('x-forwarded-host');

    await open([], { TRUSTED_PROXIES: '10.0.0.0/8,127.0.0.1' });
    await fetch(url, { headers: told });
    expect(stubs[0]!.seen[1]!.headers).toMatchObject({ ...told, 'x-forwarded-for': '192.0.2.7, 127.0.0.1' });
  });

  it('frames the body of a DELETE, so that nothing of it is taken for another request', async () => {
    await open([echo]);
    const hidden = 'GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n';
    const chunk = `${hidden.length.toString(16)}\r\n${hidden}\r\n0\r\n\r\n`;
    const head = 'DELETE /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n';
    expect((await new RawConnection(url, head + chunk).answered).status).toBe(200);
    expect(stubs[0]!.seen.map((message) => message.url)).toEqual(['/a']);
  });

  it('frames a body whose length Connection names, so that nothing of it is taken for another request', async () => {
    await open([echo]);
    const hidden = 'GET /hidden HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: 192.0.2.7\r\n\r\n';
    const head = 'GET /a HTTP/1.1\r\nHost: h\r\nConnection: close, Content-Length, host\r\n';
    const answer = new RawConnection(url, `${head}Content-Length: ${hidden.length}\r\n\r\n${hidden}`).answered;
    expect((await answer).body).toBe(hidden);
    expect(stubs[0]!.seen.map((message) => [message.url, message.headers.host])).toEqual([['/a', 'h']]);
  });

  it('refuses more than one Host as a replica does, and needs none with HTTP/1.0', async () => {
    await open([named('a')]);
    const answered = (head: string) =>
      new RawConnection(url, `GET / ${head}Connection: close\r\n\r\n`).answered.then(({ status, body }) => [
        status,
        body,
      ]);
    expect(await answered('HTTP/1.1\r\nHost: a\r\nHost: b\r\n')).toEqual([
      400,
      expect.stringContaining('host-ambiguous'),
    ]);
    expect(await answered('HTTP/1.0\r\n')).toEqual([200, 'a']);
    expect(stubs[0]!.seen.map(({ headers }) => headers.host)).toEqual(['']);
  });

  it('refuses CONNECT as a replica does', async () => {
    await open([named('a')]);
    const { status, headers } = await new RawConnection(url, 'CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n').answered;
    expect({ status, type: headers['content-type'] }).toEqual({
      status: 501,
      type: 'application/problem+json; charset=utf-8',
    });
  });

  it('keeps headers that concern the connection to itself', async () => {
    await open([
      (_message, response) => void response.writeHead(200, { Connection: 'x-own', 'X-Own': '1', 'X-Kept': '1' }).end(),
    ]);
    const head = 'GET / HTTP/1.1\r\nHost: h\r\nConnection: close, x-mine\r\nX-Mine: 1\r\nTE: trailers\r\n\r\n';
    const { headers } = await new RawConnection(url, head).answered;
    expect(headers).toMatchObject({ connection: 'close', 'x-kept': '1' });
    expect(headers).not.toHaveProperty('x-own');
    const { headers: seen } = stubs[0]!.seen[0]!;
    expect(Object.keys(seen)).not.toEqual(expect.arrayContaining(['x-mine']));
    expect(seen).not.toHaveProperty('te');
  });

  it('sends each request to a replica that is ready and has the fewest in flight', async () => {
    const held: (() => void)[] = [];
    await open([(_message, response) => void held.push(() => response.end('slow')), named('b')]);
    const both = [fetch(url), fetch(url)];
    await eventually(() => held.length === 1 && stubs[1]!.backend.inFlight === 0);
    for (let nth = 0; nth < 4; nth++) expect(await (await fetch(url)).text()).toBe('b');
    stubs[1]!.isReady = false;
    await eventually(() => !stubs[1]!.backend.isReady);
    const second = fetch(url);
    await eventually(() => held.length > 1);
    for (const release of held) release();
    expect(await (await second).text()).toBe('slow');
    const texts = await Promise.all(both.map(async (response) => (await response).text()));
    expect(texts.toSorted()).toEqual(['b', 'slow']);
  });

  it('answers 503 while no replica is ready', async () => {
    await open([named('a')]);
    stubs[0]!.isReady = false;
    await eventually(() => !stubs[0]!.backend.isReady);
    const response = await fetch(`${url}/v1/orders?a=1`);
    expect(response.headers.get('retry-after')).toBe('1');
    expect(response.headers.get('content-type')).toBe('application/problem+json; charset=utf-8');
    const instance = '/v1/orders';
    expect(await response.json()).toMatchObject({ status: 503, code: 'no-replica-ready', instance });
  });

  it('turns to another replica when one does not accept the connection, whatever the request is', async () => {
    await open([named('a'), named('b')]);
    stubs[0]!.kill();
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => fetch(url, { method: 'POST', body: 'x' }).then((each) => each.text())),
    );
    expect(new Set(answers)).toEqual(new Set(['b']));
  });

  it('repeats a GET that was not answered, and says of a POST that nobody knows what came of it', async () => {
    await open([(message) => message.socket.destroy(), named('b')]);
    const [fatal, sound] = stubs as [Stub, Stub];
    const posted: Response[] = [];
    for (let nth = 0; nth < 4; nth++) posted.push(await fetch(url, { method: 'POST', body: 'x' }));
    const lost = posted.filter(({ status }) => status !== 200);
    expect(lost.length).toBeGreaterThan(0);
    expect(await codeOf(lost[0]!)).toEqual([502, 'replica-lost']);
    expect([fatal.seen.length, sound.seen.length]).toEqual([lost.length, 4 - lost.length]);
    for (let nth = 0; nth < 4; nth++) expect(await (await fetch(url)).text()).toBe('b');
    expect(fatal.seen.length).toBeGreaterThan(lost.length);
  });

  it('does not pass off half a response as a whole one', async () => {
    await open([
      (message, response) => {
        response.writeHead(200, { 'content-length': '10' });
        response.write('half');
        setImmediate(() => message.socket.destroy());
      },
    ]);
    await expect(fetch(url).then((response) => response.text())).rejects.toThrow();
  });

  it('passes on an event when it is sent, and tells the replica that the client has gone', async () => {
    let gone = false;
    await open([
      (_message, response) => {
        response.writeHead(200, { 'content-type': 'text/event-stream' }).flushHeaders();
        response.once('close', () => (gone = true));
        setImmediate(() => response.write('data: one\n\n'));
      },
    ]);
    const leave = new AbortController();
    const response = await fetch(url, { signal: leave.signal });
    const { value } = await response.body!.getReader().read();
    expect(Buffer.from(value).toString()).toBe('data: one\n\n');
    expect(stubs[0]!.backend.inFlight).toBe(1);
    leave.abort();
    await eventually(() => gone);
    await eventually(() => stubs[0]!.backend.inFlight === 0);
  });

  it('passes back a refusal that comes before the end of the body', async () => {
    await open([(_message, response) => void response.writeHead(413).end('too large')]);
    const sending = request(url, { method: 'POST' });
    sending.on('error', () => undefined);
    const answered = new Promise<IncomingMessage>((resolve) => sending.once('response', resolve));
    sending.write('x'.repeat(100_000));
    const answer = await answered;
    expect([answer.statusCode, await textOf(answer)]).toEqual([413, 'too large']);
    await eventually(() => stubs[0]!.backend.inFlight === 0);
    sending.destroy();
  });

  it('reads the rest of a body that a replica has refused, so that the next request on that connection is answered', async () => {
    await open([(message, response) => void response.writeHead(message.method === 'POST' ? 413 : 200).end()]);
    const half = 'x'.repeat(500_000);
    const client = new RawConnection(url, `POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n${half}`);
    await delay(300);
    client.write(`${half}GET /next HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n`);
    expect((await client.answered).status).toBe(413);
    expect(stubs[0]!.seen.map((message) => message.url)).toEqual(['/', '/next']);
  });

  it('answers what is no HTTP, and requests that do not arrive, as a replica answers them', async () => {
    await open([echo]);
    const malformed = await new RawConnection(url, 'HELLO\r\n\r\n').answered;
    expect([malformed.status, malformed.body.code]).toEqual([400, 'malformed-http']);
    const late = await new RawConnection(url, 'POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nab').answered;
    expect(late.status).toBe(408);
  });

  it('answers what is in flight before it closes, and ends the connections', async () => {
    let release!: () => void;
    await open([(_message, response) => void (release = () => response.end('done'))]);
    const answer = fetch(url);
    await eventually(() => stubs[0]!.seen.length === 1);
    const closed = balancer.close();
    await expect(fetch(url)).rejects.toThrow();
    release();
    const response = await answer;
    expect([response.headers.get('connection'), await response.text()]).toEqual(['close', 'done']);
    await closed;
  });
});
