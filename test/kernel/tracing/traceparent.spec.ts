import { newId } from '../../../src/kernel/ids';
import {
  correlationIdOf,
  formatTraceparent,
  parseTraceparent,
  traceIdOf,
} from '../../../src/kernel/tracing/traceparent';

const trace = '4bf92f3577b34da6a3ce929d0e0e4736';
const span = '00f067aa0ba902b7';

describe('a traceparent', () => {
  it.each([
    [`00-${trace}-${span}-01`, 1],
    [`00-${trace}-${span}-00`, 0],
    // flags that are not known count as not set
    [`00-${trace}-${span}-03`, 1],
    // of a later version
    [`01-${trace}-${span}-01-more`, 1],
    [`01-${trace}-${span}-01`, 1],
  ])('is read: %s', (header, traceFlags) => {
    const context = parseTraceparent(header)!;
    expect(context).toEqual({ traceId: trace, spanId: span, traceFlags, isRemote: true });
    expect(formatTraceparent(context)).toBe(`00-${trace}-${span}-0${traceFlags}`);
  });

  // of https://github.com/w3c/trace-context/blob/main/test/test.py
  it.each([
    undefined,
    '',
    'abc',
    `ff-${trace}-${span}-01`,
    `00-${trace}-${span}-01-more`,
    `00-${trace}-${span}-01.`,
    `01-${trace}-${span}-01.more`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${trace}-${'0'.repeat(16)}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${trace.slice(1)}-${span}-01`,
    `00-${trace}-${span}-1`,
    `0-${trace}-${span}-01`,
    `00-${trace}-${span}-01, 00-${trace}-${span}-01`,
    `00-${trace}-${span}-0g`,
  ])('is none when it is invalid: %s', (header) => {
    expect(parseTraceparent(header)).toBeUndefined();
  });

  it('has the id of a correlation, written without hyphens', () => {
    expect(correlationIdOf({ traceId: trace })).toBe('4bf92f35-77b3-4da6-a3ce-929d0e0e4736');
    const id = newId();
    expect(correlationIdOf({ traceId: traceIdOf(id) })).toBe(id);
    expect(parseTraceparent(`00-${traceIdOf(id)}-${span}-01`)).toBeDefined();
  });
});
