import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from '@nestjs/cqrs';
import { EventStore } from '../../src/kernel/event-store/event-store';
import { Resilience } from '../../src/kernel/resilience/policies';
import { saga } from '../../src/kernel/sagas/saga';
import { Sagas } from '../../src/kernel/sagas/sagas';
import type { Api } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { parseMetrics, scrape } from '../support/metrics';
import { account, happened, order, query, type Row, waiting } from './shop';

const operations = '/v1/operations';
const of = (subscription: string) => `{subscription="${subscription}",segment="0"}`;

describe('watching the metrics', () => {
  let shop: TestApp;
  let ada: Api;
  let staff: Api;

  beforeAll(async () => {
    shop = await startApp({ retry: { attempts: 2, backoffMs: 5 } });
    ada = await shop.customer();
    staff = await account(shop, ['staff']);
    // An isolated breaker tells its callers to come back after its timeout: half a minute is too long for a test.
    const breaker = shop.app.get(Resilience, { strict: false }).breaker('payment-provider')!;
    (breaker as unknown as { options: { timeout: number } }).options.timeout = 100;
  });
  afterAll(() => shop.close());

  const value = async (series: string) => (await scrape(shop.url)).samples.get(`orderloom_${series}`);
  /** Scrapes until it is so; a test that waits in vain runs out of time. */
  async function until(series: string, wanted: (value: number) => boolean): Promise<number> {
    for (; ; await delay(20)) {
      const found = await value(series);
      if (found !== undefined && wanted(found)) return found;
    }
  }
  const restOf = async (name: string) => {
    const { body } = await staff.get(`${operations}/subscriptions`);
    return (body['data'] as Row[]).find((each) => each['name'] === name)!;
  };

  it('one reads them in the form and by the names that Prometheus asks for', async () => {
    await order(ada, {}, waiting);
    const { families, samples } = await scrape(shop.url);
    const ours = [...families].filter(([name]) => name.startsWith('orderloom_'));
    expect(ours.length).toBeGreaterThan(20);
    for (const [name, { type, help }] of ours) {
      expect(name).toMatch(/^orderloom_[a-z]+(_[a-z]+)*$/);
      expect(name).not.toMatch(/(_ms|_millis|_minutes|_count|_sum|_bucket)$/);
      expect({ name, total: name.endsWith('_total') }).toEqual({ name, total: type === 'counter' });
      expect(help).toMatch(/^[A-Z].+\.$/);
    }
    for (const name of ['process_resident_memory_bytes', 'nodejs_eventloop_lag_seconds', 'process_cpu_seconds_total']) {
      expect(samples.get(name)).toBeGreaterThanOrEqual(0);
    }
    expect(samples.get('orderloom_database_up')).toBe(1);
  });

  it('the test itself would notice what is no metric', () => {
    for (const text of ['a 1\n', '# TYPE a gauge\na x\n', '# TYPE a gauge\na 1\na 1\n', '# TYPE a gauge\nb 1\n']) {
      expect(() => parseMetrics(text)).toThrow();
    }
    expect(() => parseMetrics('# TYPE a gauge\na{l="x"y"} 1\n')).toThrow();
    expect(() => parseMetrics('# TYPE a gauge\na 1')).toThrow();
    expect(parseMetrics('# TYPE a gauge\na{l="x\\"y",m=""} 1e3\n').samples.get('a{l="x\\"y",m=""}')).toBe(1000);
  });

  it('one sees each subscription as the operations show it', async () => {
    await shop.settled();
    const { samples } = await scrape(shop.url);
    const { body } = await staff.get(`${operations}/subscriptions`);
    const rows = body['data'] as Row[];
    expect(rows.length).toBeGreaterThan(10);
    for (const row of rows) {
      const found = (what: string) => samples.get(`orderloom_subscription_${what}${of(row['name'] as string)}`);
      expect({
        position: found('position'),
        lag: found('lag_events'),
        lagSeconds: found('lag_seconds'),
        deadLetters: found('dead_letters'),
        parkedPartitions: found('parked_partitions'),
        handled: found('events_total'),
        retries: found('retries_total'),
        waiting: found('waiting'),
        owned: found('owned'),
        paused: found('paused'),
      }).toEqual({
        position: samples.get('orderloom_log_position'),
        lag: 0,
        lagSeconds: 0,
        deadLetters: 0,
        parkedPartitions: 0,
        handled: row['handled'],
        retries: row['retries'],
        waiting: row['waiting'],
        owned: 1,
        paused: 0,
      });
    }
  });

  it('what is counted grows with the orders', async () => {
    await shop.settled();
    const counters = [
      `subscription_events_total${of('orders.order-details')}`,
      `subscription_events_total${of('orders.fulfil')}`,
      'append_commands_total{outcome="ok"}',
      'append_batch_commands_count',
      'append_duration_seconds_count',
      'http_request_duration_seconds_count{method="POST",route="/v1/orders",status="202"}',
      'circuit_breaker_calls_total{breaker="payment-provider"}',
      'log_position',
    ];
    const before = (await scrape(shop.url)).samples;
    const placed = await order(ada, {}, waiting);
    await order(ada, {}, waiting);
    await shop.settled();
    const { samples } = await scrape(shop.url);
    const grown = counters.map((series) => {
      return [series, samples.get(`orderloom_${series}`)! - before.get(`orderloom_${series}`)!] as const;
    });
    expect(Object.fromEntries(grown)).toMatchObject({
      [counters[1]!]: 2,
      [counters[5]!]: 2,
      [counters[6]!]: 2,
      [counters[7]!]: expect.any(Number),
    });
    for (const [series, by] of grown) expect({ series, grows: by >= 2 }).toEqual({ series, grows: true });
    // as many commands in the batches as were answered, but for those with rows of their own beside them
    const sum = samples.get('orderloom_append_batch_commands_sum')!;
    expect(sum).toBeLessThanOrEqual(samples.get('orderloom_append_commands_total{outcome="ok"}')!);
    expect(placed.body).toMatchObject({ status: 'fulfilling' });
  });

  it('requests are told by route, never by what was in the URL', async () => {
    const placed = await order(ada);
    await ada.get(`/v1/orders/${placed.body['id']}?version=1`);
    await ada.get(`/v1/no-such-thing/${placed.body['id']}`);
    const text = await (await fetch(`${shop.url}/metrics`)).text();
    const { samples } = parseMetrics(text);
    const count = (labels: string) => samples.get(`orderloom_http_request_duration_seconds_count{${labels}}`);
    expect(count('method="GET",route="/v1/orders/:id",status="200"')).toBeGreaterThanOrEqual(1);
    expect(count('method="GET",route="none",status="404"')).toBe(1);
    expect(text).not.toContain(placed.body['id']);
    expect(text).not.toMatch(/route="[^"]*[?%]|no-such-thing/);
  });

  it('commands that come twice or too late are told apart', async () => {
    const events = shop.app.get(EventStore, { strict: false });
    const before = (await scrape(shop.url)).samples;
    const aggregate = { type: 'probe', id: randomUUID() };
    const [commandId, probed] = [randomUUID(), [{ type: 'probe.probed' }]];
    await events.append(aggregate, probed, { commandId });
    await events.append(aggregate, probed, { commandId });
    await events.append(aggregate, probed, { expectedVersion: 7 });
    const { samples } = await scrape(shop.url);
    for (const outcome of ['duplicate', 'conflict']) {
      const series = `orderloom_append_commands_total{outcome="${outcome}"}`;
      expect(samples.get(series)! - before.get(series)!).toBe(1);
    }
  });

  it('the lag of a paused subscription grows until it goes on', async () => {
    const name = 'orders.timeline';
    await staff.post(`${operations}/subscriptions/${name}/pause`);
    await until(`subscription_owned${of(name)}`, (owned) => owned === 0);
    expect(await value(`subscription_paused${of(name)}`)).toBe(1);
    const handled = (await value(`subscription_events_total${of(name)}`))!;
    expect(handled).toBeGreaterThan(0);

    await order(ada, {}, waiting);
    const lag = await until(`subscription_lag_events${of(name)}`, (events) => events > 0);
    const seconds = await until(`subscription_lag_seconds${of(name)}`, (found) => found > 0);
    await until(`subscription_lag_seconds${of(name)}`, (found) => found > seconds);
    await order(ada, {}, waiting);
    await until(`subscription_lag_events${of(name)}`, (events) => events > lag);
    expect(await value(`subscription_lag_events${of('orders.order-details')}`)).toBe(0);

    await staff.post(`${operations}/subscriptions/${name}/resume`);
    await shop.settled();
    expect(await value(`subscription_lag_events${of(name)}`)).toBe(0);
    expect(await value(`subscription_lag_seconds${of(name)}`)).toBe(0);
    expect(await value(`subscription_owned${of(name)}`)).toBe(1);
    expect(await value(`subscription_events_total${of(name)}`)).toBeGreaterThan(handled);
  });

  it('an isolated breaker is open, and the sagas that wait for it are under way', async () => {
    const state = (each: string) => `circuit_breaker_state{breaker="payment-provider",state="${each}"}`;
    expect([await value(state('closed')), await value(state('open'))]).toEqual([1, 0]);
    await staff.post(`${operations}/circuit-breakers/payment-provider/isolate`);
    expect([await value(state('closed')), await value(state('open'))]).toEqual([0, 1]);
    const placed = await order(ada);
    await happened(shop, placed, 'payment.requested');
    await until('sagas{status="running"}', (sagas) => sagas === 1);
    await until('circuit_breaker_refusals_total{breaker="payment-provider"}', (refusals) => refusals > 0);
    await until(`subscription_retries_total${of('payments.charge')}`, (retries) => retries > 0);
    await staff.post(`${operations}/circuit-breakers/payment-provider/reset`);
    await until('sagas{status="running"}', (sagas) => sagas === 0);
    expect(await value(state('closed'))).toBe(1);
  });

  it('sagas of a definition that nobody knows can be alerted on, and looked up', async () => {
    const sagas = shop.app.get(Sagas, { strict: false });
    const gone = saga<object>('long-gone', { version: 3 }).step('leave', { execute: () => ({}) as Command<unknown> });
    const subject = randomUUID();
    await sagas.start(gone, subject, {});
    await until('sagas_unknown{definition="long-gone",version="3"}', (unknown) => unknown === 1);
    await until(`subscription_lag_events${of('sagas.run')}`, (lag) => lag === 0);
    const [found, ...others] = (await staff.all(`${operations}/sagas?runnable=false`)) as Row[];
    expect(others).toEqual([]);
    expect(found).toMatchObject({ definition: 'long-gone', subject, status: 'running', runnable: false });
    expect(await staff.get(`${operations}/sagas/${found!['id'] as string}`)).toMatchObject({
      body: { runnable: false },
    });
    expect(await staff.all(`${operations}/sagas?runnable=true`)).not.toContainEqual(found);
    expect(await staff.all(`${operations}/dead-letters`)).toEqual([]);
    // rows of a definition that this process knows are told as 0
    await staff.post(`${operations}/circuit-breakers/payment-provider/isolate`);
    await order(ada);
    expect(await until('sagas{status="running"}', (running) => running === 2)).toBe(2);
    expect(await value('sagas_unknown{definition="order-fulfilment",version="1"}')).toBe(0);
    await staff.post(`${operations}/circuit-breakers/payment-provider/reset`);
    await until('sagas{status="running"}', (running) => running === 1);
    // others wait until all sagas have ended
    await query(shop, `delete from sagas.instances where subject = $1`, [subject]);
  });

  it('an event that cannot be digested is a dead letter, what follows is parked, and both can be alerted on', async () => {
    const name = 'orders.timeline';
    const retries = (await value(`subscription_retries_total${of(name)}`))!;
    const poison = { type: 'order.cancelled', orderId: 'not an order', reason: 'poison' };
    const aggregate = { type: 'poison', id: randomUUID() };
    const events = shop.app.get(EventStore, { strict: false });
    await events.append(aggregate, [poison]);
    await shop.settled();
    expect(await value(`subscription_dead_letters${of(name)}`)).toBe(1);
    expect(await value(`subscription_parked_partitions${of(name)}`)).toBe(1);
    // two tries, with one pause between them
    expect(await value(`subscription_retries_total${of(name)}`)).toBe(retries + 1);
    expect(await restOf(name)).toMatchObject({ deadLetters: 1, parkedPartitions: 1, retries: retries + 1 });

    await events.append(aggregate, [poison]);
    await shop.settled();
    expect(await value(`subscription_dead_letters${of(name)}`)).toBe(2);
    expect(await value(`subscription_parked_partitions${of(name)}`)).toBe(1);
    expect(await value(`subscription_retries_total${of(name)}`)).toBe(retries + 1);
    expect(await value(`subscription_dead_letters${of('orders.fulfil')}`)).toBe(0);
  });
});
