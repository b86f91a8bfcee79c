import { toCurrent } from '../../../src/kernel/event-store/upcasting';
import '../../../src/kernel/sagas/saga-stream';

const about = { saga: 'order-fulfilment', subject: '0198c2f0-0000-7000-8000-000000000001', step: 'createShipment' };
const technical = { code: 'technical-failure', message: 'A technical problem prevented this.' };

describe.each(['saga.step-failed', 'saga.compensation-failed', 'saga.parked', 'saga.compensated'])(
  '%s of version 1',
  (type) => {
    it.each([
      ['QueryFailedError', 'relation "products.reservations" does not exist', technical],
      ['error', 'no pg_hba.conf entry for host "10.0.3.7"', technical],
      ['Error', 'connect ECONNREFUSED carrier-7.internal:8443', technical],
      ['unknown', '[object Object]', technical],
      ['', '', technical],
      [
        'CircuitBreakerOpenError',
        'Circuit breaker "carrier" is open; retry after 812 ms',
        { code: 'unavailable', message: 'A service that this needs is not available.' },
      ],
      [
        'CallTimeoutError',
        '"carrier" gave no answer within 5000 ms',
        { code: 'timeout', message: 'No answer came in time.' },
      ],
    ])('had the text of any error, such as "%s", which is replaced', (code, message, error) => {
      const stored = { ...about, error: { code, message }, retryInMs: 100, exempt: false };
      expect(toCurrent(type, 1, stored)).toEqual({ ...stored, error });
    });

    it.each(['out-of-stock', 'card_declined', 'unavailable', 'cancelled', 'step-timeout'])(
      'keeps the text of the refusal "%s"',
      (code) => {
        const stored = { ...about, error: { code, message: 'Written to be read.' }, outcome: 'final' };
        expect(toCurrent(type, 1, stored)).toEqual(stored);
      },
    );

    it('is left alone in version 2', () => {
      const today = { ...about, error: { code: 'SomeCode', message: 'as it is' } };
      expect(toCurrent(type, 2, today)).toEqual(today);
    });
  },
);
