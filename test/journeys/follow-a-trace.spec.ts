import type { Api, Json } from '../support/api';
import { startApp, type TestApp } from '../support/app';
import { address, order, query, waiting } from './shop';

const trace = '4bf92f35-77b3-4da6-a3ce-929d0e0e4736';
const traceparent = `00-${trace.replaceAll('-', '')}-00f067aa0ba902b7-01`;

describe('following a trace, with nobody who collects spans', () => {
  let shop: TestApp;
  let ada: Api;

  beforeAll(async () => {
    shop = await startApp();
    ada = await shop.customer();
  });
  afterAll(() => shop.close());

  /** Metadata of all events that an order led to, in every module. */
  async function metadataOf(orderId: string): Promise<Json[]> {
    const rows = await query(
      shop,
      `select metadata from event_store.events
       where aggregate_id::text = $1 or payload ->> 'orderId' = $1
          or aggregate_id in (select id from sagas.instances where subject::text = $1)
       order by position`,
      [orderId],
    );
    return rows.map(({ metadata }) => metadata);
  }

  it('all that follows from a request is in the trace of its caller', async () => {
    const placed = await order(ada, {}, { ...waiting, traceparent });
    await shop.settled();
    expect(placed.headers.get('x-request-id')).toBe(trace);
    const found = await metadataOf(placed.body['id']);
    expect(found.length).toBeGreaterThan(12);
    for (const { correlationId, traceparent: stored } of found) {
      expect({ correlationId, stored }).toEqual({ correlationId: trace, stored: traceparent });
    }
  });

  it('two requests of one trace are two requests', async () => {
    const draft = await order(ada, { submit: false });
    const path = `/v1/orders/${draft.body['id']}/shipping-address`;
    for (const city of ['Paris', 'Oslo']) {
      const { status, headers } = await ada.put(path, { ...address, city }, { traceparent });
      expect([status, headers.get('x-request-id')]).toEqual([200, trace]);
    }
    expect((await ada.get(`/v1/orders/${draft.body['id']}`)).body['shippingAddress']['city']).toBe('Oslo');
  });

  it('the trace id of a problem is that of the caller', async () => {
    const { status, body, headers } = await ada.get('/v1/orders/nothing', { traceparent });
    expect(status).toBe(400);
    expect([body['traceId'], headers.get('x-request-id')]).toEqual([trace, trace]);
  });

  it('a traceparent that is invalid counts as none', async () => {
    const placed = await order(ada, {}, { ...waiting, traceparent: `${traceparent}-more` });
    const [first] = await metadataOf(placed.body['id']);
    expect(placed.headers.get('x-request-id')).not.toBe(trace);
    expect(first.correlationId).toBe(placed.headers.get('x-request-id'));
    expect(first).not.toHaveProperty('traceparent');
  });

  it('of a traceparent of a later version, events keep what this version has', async () => {
    const later = `01${traceparent.slice(2)}-${'x'.repeat(500)}`;
    const placed = await order(ada, {}, { ...waiting, traceparent: later });
    const [first] = await metadataOf(placed.body['id']);
    expect(placed.headers.get('x-request-id')).toBe(trace);
    expect(first.traceparent).toBe(traceparent);
  });

  it('a step that is tried again after a while is still in it', async () => {
    await query(shop, 'alter table products.reservations rename to elsewhere');
    const placed = await order(ada, {}, { traceparent });
    for (let failed = false; !failed;) {
      const [row] = await query(
        shop,
        `select count(*)::int as count from event_store.events e join sagas.instances i on i.id = e.aggregate_id
         where i.subject = $1 and e.event_type = 'saga.step-failed'`,
        [placed.body['id']],
      );
      failed = row!['count'] > 0;
    }
    await query(shop, 'alter table products.elsewhere rename to reservations');
    await shop.settled();
    const found = await metadataOf(placed.body['id']);
    expect(found.length).toBeGreaterThan(14);
    for (const { correlationId, traceparent: stored } of found) {
      expect({ correlationId, stored }).toEqual({ correlationId: trace, stored: traceparent });
    }
  });
});
