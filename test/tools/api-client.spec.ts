import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ApiClient, Refusal } from '../../src/tools/import/api-client';

type Step = (response: ServerResponse, request: IncomingMessage) => void;

const answer =
  (status: number, body: unknown, headers: Record<string, string> = {}): Step =>
  (response) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
const hangUp: Step = (_response, request) => request.socket.destroy();

/** A server that does what it is told, request by request; tokens it gives always. */
async function serverThat(...steps: Step[]) {
  const seen: { path: string; key: unknown; authorization: unknown }[] = [];
  let tokens = 0;
  const server = createServer((request, response) => {
    if (request.url === '/v1/auth/token')
      return answer(200, { access_token: `token-${(tokens += 1)}` })(response, request);
    const { authorization, 'idempotency-key': key } = request.headers;
    seen.push({ path: request.url!, key, authorization });
    return (steps.shift() ?? answer(500, { detail: 'not expected' }))(response, request);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const close = () => {
    server.closeAllConnections();
    server.close();
  };
  return { url, seen, close };
}

describe('the client of the import', () => {
  let close: () => void = () => undefined;
  afterEach(() => close());

  async function client(...steps: Step[]) {
    const server = await serverThat(...steps);
    close = server.close;
    const notes: (string | undefined)[] = [];
    const stop = new AbortController();
    const api = new ApiClient({
      url: `${server.url}/`,
      email: 'staff@orderloom.local',
      password: 'secret',
      signal: stop.signal,
      onWaiting: (why) => notes.push(why),
    });
    return { api, notes, stop, seen: server.seen };
  }

  it('sends a request whose connection broke again, with the same key, and says so', async () => {
    const { api, seen, notes } = await client(hangUp, answer(201, { id: '1' }));
    expect(await api.post('/v1/things', 'import/thing/1', {})).toEqual({ body: { id: '1' }, replayed: false });
    expect(seen.map(({ key }) => key)).toEqual(['import/thing/1', 'import/thing/1']);
    expect(notes).toEqual(['the server is gone, waiting', undefined]);
  });

  it('waits as long as the server asks for, be it busy or still at an earlier request', async () => {
    const wait = { 'Retry-After': '1' };
    const { api, seen } = await client(
      answer(503, { code: 'overloaded' }, wait),
      answer(409, { code: 'request-in-progress' }, wait),
      answer(200, { id: '1' }, { 'Idempotent-Replayed': 'true' }),
    );
    const begun = performance.now();
    expect(await api.post('/v1/things', 'key')).toEqual({ body: { id: '1' }, replayed: true });
    expect(performance.now() - begun).toBeGreaterThan(1900);
    expect(seen).toHaveLength(3);
  });

  it('gets a new token when the old one has expired', async () => {
    const { api, seen } = await client(answer(401, { code: 'unauthenticated' }), answer(200, { id: '1' }));
    expect(await api.get('/v1/things/1')).toEqual({ id: '1' });
    expect(seen.map(({ authorization }) => authorization)).toEqual(['Bearer token-1', 'Bearer token-2']);
  });

  it('does not repeat what was refused, and tells why', async () => {
    const errors = [{ pointer: '/name', message: 'name must be shorter' }];
    const { api, seen } = await client(answer(400, { code: 'validation', detail: 'Not valid.', errors }));
    const posting = api.post('/v1/things', 'key', {});
    await expect(posting).rejects.toThrow(Refusal);
    await expect(posting).rejects.toThrow('Not valid. /name: name must be shorter');
    expect(seen).toHaveLength(1);
  });

  it('follows a list to its end', async () => {
    const { api, seen } = await client(
      answer(200, { data: [1, 2], page: { next: 'a=b', hasMore: true } }),
      answer(200, { data: [3], page: { next: null, hasMore: false } }),
    );
    const found: number[] = [];
    for await (const each of api.list<number>('/v1/things?status=new')) found.push(each);
    expect(found).toEqual([1, 2, 3]);
    expect(seen[1]?.path).toBe('/v1/things?status=new&limit=100&after=a%3Db');
  });

  it('stops waiting when it is told to', async () => {
    const { api, stop } = await client(answer(503, {}, { 'Retry-After': '30' }));
    const getting = api.get('/v1/things');
    setTimeout(() => stop.abort(), 100);
    await expect(getting).rejects.toThrow('run the same command again');
  });

  it('says at once that nobody is there, instead of waiting', async () => {
    const { url, close: stopServer } = await serverThat();
    stopServer();
    const api = new ApiClient({ url, email: 'a@b.example', password: 'secret' });
    await expect(api.get('/v1/things')).rejects.toThrow(`Nobody answers at ${url} (ECONNREFUSED): start the app`);
  });
});
