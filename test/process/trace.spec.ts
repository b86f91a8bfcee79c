import { address, anOrder, waiting } from '../journeys/shop';
import { eventually } from '../kernel/support';
import { Api } from '../support/api';
import { adminPassword } from '../support/app';
import { createDatabase, type TestDatabase } from '../support/database';
import { AppProcess, freePort } from './app-process';
import { type CollectedSpan, Collector } from './collector';

let database: TestDatabase;

beforeAll(async () => {
  database = await createDatabase();
});
afterAll(() => database.drop());

async function start(env: Record<string, string>): Promise<{ app: AppProcess; admin: Api }> {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const app = new AppProcess({
    DATABASE_URL: database.appUrl,
    PORT: String(port),
    DEMO_DATA: 'true',
    ADMIN_PASSWORD: adminPassword,
    JWT_SECRET: 'kP3v9XqLw7Rt2ZyNs8Bd5HgMf4Jc6Ua1',
    // what the tests wait for
    OTEL_BSP_SCHEDULE_DELAY: '50',
    ...env,
  });
  await app.ready(url);
  return { app, admin: await Api.signIn(url, 'admin@orderloom.local', adminPassword) };
}

/** Spans that are connected with this one by parents and links, in either direction. */
function story(spans: readonly CollectedSpan[], from: CollectedSpan): Set<CollectedSpan> {
  const neighbours = ({ parentSpanId, links }: CollectedSpan) => [parentSpanId, ...links.map(({ spanId }) => spanId)];
  const found = new Set([from]);
  for (const one of found) {
    for (const other of spans) {
      if (neighbours(one).includes(other.spanId) || neighbours(other).includes(one.spanId)) found.add(other);
    }
  }
  return found;
}

describe('the trace of an order', () => {
  const collector = new Collector();
  let app: AppProcess;
  let admin: Api;

  beforeAll(async () => {
    const endpoint = await collector.open();
    const settings = { OTEL_EXPORTER_OTLP_HEADERS: 'x-tenant=tests', OTEL_RESOURCE_ATTRIBUTES: 'deployment=test' };
    ({ app, admin } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: endpoint, ...settings }));
  });
  afterAll(async () => {
    await app.end();
    await collector.close();
  });

  /** Places an order. @returns its request's span and all spans about it, once the last view has it */
  async function place(paymentMethod: string, headers: Record<string, string> = {}) {
    const { body, headers: answered } = await admin.post('/v1/orders', anOrder({ paymentMethod }), {
      ...waiting,
      ...headers,
    });
    const orderId = body['id'] as string;
    const trace = answered.get('x-request-id')!.replaceAll('-', '');
    const request = await eventually(() =>
      collector.spans.find(({ name, traceId }) => name === 'POST /v1/orders' && traceId === trace),
    );
    const position = Number(
      (await admin.get(`/v1/operations/events?aggregateId=${orderId}&type=order.fulfilling`)).body['data'][0].position,
    );
    // reached by each of its views
    await eventually(() =>
      ['orders.order-details', 'orders.timeline'].every((view) =>
        collector.spans.some(
          ({ name, attributes }) =>
            name === `project ${view}` && Number(attributes['orderloom.event.position']) >= position,
        ),
      ),
    );
    return { orderId, request, answered };
  }

  it('is one story from the request to the last view', async () => {
    const { orderId, request } = await place('sandbox_ok');
    expect(request).toMatchObject({
      kind: 2,
      attributes: {
        'http.request.method': 'POST',
        'http.route': '/v1/orders',
        'url.path': '/v1/orders',
        'http.response.status_code': 202,
        'orderloom.actor': expect.stringMatching(/^user:/),
      },
      resource: { 'service.name': 'orderloom', deployment: 'test' },
    });
    expect(request.parentSpanId).toBeUndefined();
    expect(collector.headers[0]).toMatchObject({ 'x-tenant': 'tests' });

    const connected = await eventually(() => {
      const found = [...story(collector.spans, request)];
      return found.some(({ name }) => name === 'saga step order-fulfilment createShipment') ? found : undefined;
    });
    const ofOrder = collector.spans.filter(
      ({ attributes }) =>
        Object.values(attributes).includes(orderId) || attributes['orderloom.saga.subject'] === orderId,
    );
    expect(ofOrder.length).toBeGreaterThan(15);
    expect(ofOrder.filter((span) => !connected.includes(span))).toEqual([]);

    const names = connected.map(({ name }) => name);
    for (const name of [
      'command CreateOrder',
      'append order',
      'commit',
      'deliver order.submitted to orders.fulfil',
      'append saga',
      'deliver saga.step-started to sagas.run',
      'saga step order-fulfilment reserveInventory',
      'command ReserveInventory',
      'saga step order-fulfilment processPayment',
      'command ProcessPayment',
      'append payment',
      'deliver payment.requested to payments.charge',
      'call payment-provider',
      'deliver payment.completed to orders.progress',
      'saga step order-fulfilment createShipment',
      'project orders.order-details',
      'project orders.timeline',
      'project payments.payments',
      'project sagas.instances',
    ]) {
      expect(names).toContain(name);
    }
  });

  it('says of each part what it was about', async () => {
    const { orderId, request } = await place('sandbox_ok');
    const spans = await eventually(() => {
      const found = [...story(collector.spans, request)];
      return found.some(({ name }) => name === 'deliver payment.completed to orders.progress') ? found : undefined;
    });
    const named = (name: string) => spans.find((span) => span.name === name && span.traceId === request.traceId)!;
    const parentOf = ({ parentSpanId }: CollectedSpan) => spans.find(({ spanId }) => spanId === parentSpanId)?.name;
    const { body } = await admin.get(`/v1/operations/events?aggregateId=${orderId}`);
    const submitted = body['data'].find(({ eventType }: { eventType: string }) => eventType === 'order.submitted');

    expect(named('append order')).toMatchObject({
      attributes: {
        'orderloom.aggregate.type': 'order',
        'orderloom.aggregate.id': orderId,
        'orderloom.event.types': ['order.created', 'order.submitted'],
        'orderloom.event.position': submitted.position,
        'orderloom.append.outcome': 'ok',
      },
    });
    expect(submitted.metadata.traceparent).toBe(`00-${request.traceId}-${named('append order').spanId}-01`);
    expect(parentOf(named('append order'))).toBe('command CreateOrder');
    expect(named('deliver order.submitted to orders.fulfil')).toMatchObject({
      kind: 5,
      parentSpanId: named('append order').spanId,
      attributes: {
        'orderloom.subscription': 'orders.fulfil',
        'orderloom.event.type': 'order.submitted',
        'orderloom.event.position': submitted.position,
        'orderloom.order.id': orderId,
        'orderloom.attempt': 1,
      },
    });
    expect(named('saga step order-fulfilment reserveInventory').attributes).toMatchObject({
      'orderloom.saga.subject': orderId,
      'orderloom.saga.step': 'reserveInventory',
      'orderloom.attempt': 1,
    });
    expect(named('call payment-provider')).toMatchObject({ kind: 3, attributes: { 'orderloom.attempt': 1 } });
    expect(named('deliver payment.requested to payments.charge').attributes['orderloom.order.id']).toBe(orderId);

    const commit = spans.find(
      ({ name, links }) => name === 'commit' && links.some(({ spanId }) => spanId === named('append order').spanId),
    );
    expect(commit).toMatchObject({ attributes: { 'orderloom.commit.commands': expect.any(Number) } });
    expect(commit!.parentSpanId).toBeUndefined();
    const batch = spans.find(
      ({ name, links }) =>
        name === 'project orders.order-details' && links.some(({ spanId }) => spanId === named('append order').spanId),
    );
    expect(batch!.parentSpanId).toBeUndefined();
    expect(batch!.attributes).toMatchObject({
      'orderloom.subscription': 'orders.order-details',
      'orderloom.attempt': 1,
    });
  });

  it('shows that the provider failed, and was asked again', async () => {
    const { request } = await place('sandbox_flaky');
    const calls = await eventually(() => {
      const found = [...story(collector.spans, request)].filter(({ name }) => name === 'call payment-provider');
      return found.filter(({ traceId }) => traceId === request.traceId).length === 2 ? found : undefined;
    });
    const ours = calls.filter(({ traceId }) => traceId === request.traceId);
    expect(ours.map(({ attributes, status }) => [attributes['orderloom.attempt'], status.code ?? 0])).toEqual([
      [1, 2],
      [2, 0],
    ]);
    expect(ours[0]!.status.message).toContain('sandbox_flaky');
  });

  it('goes on in the trace of the caller', async () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
    const traceparent = `00-${trace}-00f067aa0ba902b7-01`;
    const { request, answered, orderId } = await place('sandbox_ok', { traceparent });
    expect(request).toMatchObject({ traceId: trace, parentSpanId: '00f067aa0ba902b7' });
    expect(answered.get('x-request-id')).toBe('4bf92f35-77b3-4da6-a3ce-929d0e0e4736');
    const { body } = await admin.get(`/v1/operations/events?aggregateId=${orderId}&type=order.paid`);
    expect(body['data'][0].metadata.correlationId).toBe('4bf92f35-77b3-4da6-a3ce-929d0e0e4736');
  });

  it('is not recorded where the caller does not record it', async () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4737';
    const traceparent = `00-${trace}-00f067aa0ba902b7-00`;
    const { body } = await admin.post('/v1/orders', anOrder(), { ...waiting, traceparent });
    await place('sandbox_ok');
    expect(collector.spans.filter(({ traceId }) => traceId === trace)).toEqual([]);
    const events = await admin.get(`/v1/operations/events?aggregateId=${body['id']}`);
    for (const { metadata } of events.body['data'])
      expect(metadata.traceparent).toMatch(new RegExp(`^00-${trace}-.*-00$`));
  });

  it('has neither personal data nor probes in it', async () => {
    await place('sandbox_ok');
    await fetch(`${admin.url}/health/live`);
    await admin.get('/v1/users/me?secret=of-the-query');
    await place('sandbox_ok');
    const everything = JSON.stringify(collector.spans);
    for (const secret of [address.name, address.line1, adminPassword, '@orderloom.local', 'of-the-query']) {
      expect(everything).not.toContain(secret);
    }
    expect(collector.spans.filter(({ name }) => /health|metrics/.test(name))).toEqual([]);
  });
});

describe('a sampler that records no trace of its own', () => {
  const collector = new Collector();
  let app: AppProcess;
  let admin: Api;

  beforeAll(async () => {
    ({ app, admin } = await start({
      NODE_ENV: 'production',
      PAYMENT_PROVIDER: 'sandbox',
      OTEL_EXPORTER_OTLP_ENDPOINT: await collector.open(),
      OTEL_SERVICE_NAME: 'shop',
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0',
    }));
  });
  afterAll(async () => {
    await app.end();
    await collector.close();
  });

  it('records the whole trace of a caller who does, batches included, and nothing else', async () => {
    const trace = '4bf92f3577b34da6a3ce929d0e0e4738';
    const unrecorded = await admin.post('/v1/orders', anOrder(), waiting);
    const traceparent = `00-${trace}-00f067aa0ba902b7-01`;
    const { status, body, headers } = await admin.post('/v1/orders', anOrder(), { ...waiting, traceparent });
    expect(status).toBe(202);
    const names = ['POST /v1/orders', 'commit', 'project orders.order-details', 'call payment-provider'];
    await eventually(() => names.every((name) => collector.spans.some((span) => span.name === name)));
    const own = collector.spans.filter(({ traceId }) => traceId === trace);
    const batches = collector.spans.filter(({ traceId }) => traceId !== trace);
    expect(own.length).toBeGreaterThan(15);
    for (const { name, links } of batches) {
      expect(name).toMatch(/^(commit$|project )/);
      expect(links.filter(({ traceId }) => traceId !== trace)).toEqual([]);
    }
    expect(JSON.stringify(collector.spans)).toContain(body['id']);
    expect(JSON.stringify(collector.spans)).not.toContain(unrecorded.body['id']);
    expect(own[0]!.resource).toMatchObject({ 'service.name': 'shop' });

    // a line of the log leads to its trace
    const id = headers.get('x-request-id')!;
    const [text] = await app.says(new RegExp(`^.*"traceId":"${id}".*"context":"Access".*$`, 'm'));
    const request = own.find(({ name }) => name === 'POST /v1/orders')!;
    expect(JSON.parse(text)).toMatchObject({ trace_id: trace, span_id: request.spanId });
  });
});

describe('a collector that is away', () => {
  it('disturbs nobody, is told of once, and does not delay the shutdown', async () => {
    const nobody = `http://127.0.0.1:${await freePort()}`;
    const { app, admin } = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: nobody, OTEL_EXPORTER_OTLP_TIMEOUT: '200' });
    try {
      await app.says(/Tracing: spans are dropped, they cannot be sent/);
      for (let nth = 0; nth < 5; nth++) {
        expect((await admin.post('/v1/orders', anOrder(), waiting)).body['status']).toBe('fulfilling');
      }
      const asked = Date.now();
      expect(await app.end()).toMatchObject({ code: 0 });
      expect(Date.now() - asked).toBeLessThan(10_000);
      expect(app.output.match(/Tracing: /g)).toHaveLength(1);
    } finally {
      await app.end();
    }
  });

  it('is not started with a sampler that there is not', async () => {
    const app = new AppProcess({
      DATABASE_URL: database.appUrl,
      OTEL_EXPORTER_OTLP_ENDPOINT: 'http://127.0.0.1:4318',
      OTEL_TRACES_SAMPLER: 'sometimes',
    });
    expect(await app.exited).toMatchObject({ code: 1 });
    expect(app.output).toMatch(/OTEL_TRACES_SAMPLER must be always_on, .*parentbased_traceidratio/);
  });
});
