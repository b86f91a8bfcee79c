import { QueryFailedError } from 'typeorm';
import { DomainError } from '../../src/kernel/domain-error';
import { EventDataError } from '../../src/kernel/event-store/event';
import {
  AggregateTypeError,
  ContentionError,
  OverloadError,
  VersionMismatch,
} from '../../src/kernel/event-store/errors';
import { faultOf, messageOf } from '../../src/kernel/fault';
import { CircuitBreakerOpenError } from '../../src/kernel/resilience/circuit-breaker';

const sqlState = (code: string) => Object.assign(new Error('from Postgres'), { code });

describe('a fault', () => {
  it.each(['08006', '25006', '25P02', '28P01', '3D000', '40001', '40P01', '42501', '53100', '53200', '53300', '55P03'])(
    'of the infrastructure is SQLSTATE %s',
    (code) => expect(faultOf(sqlState(code))).toBe('infrastructure'),
  );

  it.each([
    '57014',
    '57P01',
    '57P03',
    '58030',
    'ECONNREFUSED',
    'ECONNRESET',
    'EPIPE',
    'ETIMEDOUT',
    'EAI_AGAIN',
    'ENOSPC',
  ])('of the infrastructure is %s', (code) => expect(faultOf(sqlState(code))).toBe('infrastructure'));

  it.each([
    'Query read timeout',
    'Connection terminated unexpectedly',
    'timeout exceeded when trying to connect',
    'timeout expired',
    'Client has encountered a connection error and is not queryable',
    'Query runner already released. Cannot run queries anymore.',
    'cached plan must not change result type',
  ])('of the infrastructure is "%s"', (message) => expect(faultOf(new Error(message))).toBe('infrastructure'));

  it('of the infrastructure is also contention, and a full queue', () => {
    expect(faultOf(new ContentionError('busy'))).toBe('infrastructure');
    expect(faultOf(new OverloadError('full'))).toBe('infrastructure');
  });

  it('is found in what wraps it', () => {
    const wrapped = new QueryFailedError('select 1', [], sqlState('53300'));
    expect(faultOf(wrapped)).toBe('infrastructure');
    expect(faultOf(new Error('no use', { cause: wrapped }))).toBe('infrastructure');
  });

  it('of the request is a refusal, also one that was caused by the database', () => {
    expect(faultOf(new DomainError('conflict', 'taken', 'It is taken.'))).toBe('request');
    expect(faultOf(new VersionMismatch(1, 2))).toBe('request');
    expect(faultOf(new EventDataError('NUL'))).toBe('request');
  });

  it.each(['22001', '23505', '42P01', '42703', '22P02'])('of the event is SQLSTATE %s', (code) =>
    expect(faultOf(sqlState(code))).toBe('event'),
  );

  it.each([[undefined], [null], ['a text'], [0], [{}], [new TypeError('a bug')]])('of the event is %p', (thrown) =>
    expect(faultOf(thrown)).toBe('event'),
  );

  it('of the event is a target outside that cannot be reached', () => {
    const cause = sqlState('ECONNREFUSED');
    expect(faultOf(new TypeError('fetch failed', { cause }))).toBe('event');
    expect(faultOf(cause)).toBe('infrastructure');
  });

  it('asks for patience when a target outside says when to come back', () => {
    expect(faultOf(new CircuitBreakerOpenError('provider', 100, false))).toBe('patience');
  });

  it('is permanent when no further try can succeed', () => {
    expect(faultOf(new AggregateTypeError('id', 'order', 'payment'))).toBe('permanent');
  });

  it('has a text, whatever was thrown', () => {
    expect(messageOf(new Error('why'))).toBe('why');
    expect(messageOf(undefined)).toBe('undefined');
    expect(messageOf(Object.create(null))).toBe('an error that cannot be shown as text');
  });
});
