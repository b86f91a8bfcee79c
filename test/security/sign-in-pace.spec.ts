import fastify from 'fastify';
import { paceSignIns } from '../../src/gateway/sign-in-pace';

describe('sign-ins that wait for their turn', () => {
  it('are let in by turns of their addresses, each in the order in which they came', async () => {
    const server = fastify();
    const order: string[] = [];
    paceSignIns(server);
    server.post('/v1/auth/token', async ({ ip, headers }) => void order.push(`${ip} ${String(headers['nth'])}`));
    await server.ready();
    const send = (remoteAddress: string, nth: number) =>
      server.inject({ method: 'POST', url: '/v1/auth/token', remoteAddress, headers: { nth: String(nth) } });
    const flood = Array.from({ length: 200 }, (_, nth) => send('203.0.113.1', nth));
    await Promise.all([...flood, send('203.0.113.2', 0), send('203.0.113.2', 1)]);
    await server.close();
    const places = [0, 1].map((nth) => order.indexOf(`203.0.113.2 ${nth}`));
    expect(places[0]).toBeLessThan(20);
    expect(places[1]).toBe(places[0]! + 2);
    const ofFlood = order.filter((each) => each.startsWith('203.0.113.1'));
    expect(ofFlood).toEqual(Array.from({ length: 200 }, (_, nth) => `203.0.113.1 ${nth}`));
  });
});
