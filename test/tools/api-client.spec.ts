import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { json } from 'node:stream/consumers';
import { ApiClient, Refusal } from '../../src/tools/import/api-client';

type Step = (response: ServerResponse, request: IncomingMessage) => void;

const answer =
  (status: number, body: unknown, headers: Record<string, string> = {}): Step =>
  (response) =>
    response.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify(body));
/** All refresh tokens are refused; as a step, it refuses the access token. */
const endSessions: Step = answer(401, { code: 'unauthenticated' });
const hangUp: Step = (_response, request) => request.socket.destroy();

/** A server that does what it is told, request by request; tokens it gives always, and refreshes the newest. */
async function serverThat(...steps: Step[]) {
  const sessionsEnded = steps.includes(endSessions);
  const seen: { path: string; key: unknown; authorization: unknown }[] = [];
  let tokens = 0;
  const signIns: string[] = [];
  const issue: Step = (response, request) => {
    signIns.push(request.url!);
    tokens += 1;
    answer(200, { access_token: `token-${tokens}`, refresh_token: `refresh-${tokens}` })(response, request);
  };
  const refresh = async (response: ServerResponse, request: IncomingMessage) => {
    const { refresh_token } = (await json(request)) as { refresh_token: string };
    if (refresh_token === `refresh-${tokens}` && !sessionsEnded) return issue(response, request);
    return answer(401, { code: 'refresh-token-invalid' })(response, request);
  };
  const server = createServer((request, response) => {
    if (request.url === '/v1/auth/token') return issue(response, request);
    if (request.url === '/v1/auth/refresh') return void refresh(response, request);
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
  return { url, seen, signIns, close };
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
    return { api, notes, stop, seen: server.seen, signIns: server.signIns };
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

  it('refreshes its token when that has expired, once for all requests', async () => {
    const expired = answer(401, { code: 'unauthenticated' });
    const good = answer(200, { id: '1' });
    const { api, seen, signIns } = await client(expired, expired, good, good, expired, good);
    expect(await Promise.all([api.get('/v1/things/1'), api.get('/v1/things/2')])).toEqual([{ id: '1' }, { id: '1' }]);
    expect(await api.get('/v1/things/3')).toEqual({ id: '1' });
    expect(signIns).toEqual(['/v1/auth/token', '/v1/auth/refresh', '/v1/auth/refresh']);
    expect(seen.at(-1)).toMatchObject({ authorization: 'Bearer token-3' });
  });

  it('signs in again when its session has ended', async () => {
    const { api, signIns } = await client(endSessions, answer(200, { id: '1' }));
    expect(await api.get('/v1/things/1')).toEqual({ id: '1' });
    expect(signIns).toEqual(['/v1/auth/token', '/v1/auth/token']);
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
