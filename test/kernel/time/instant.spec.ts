import fc from 'fast-check';
import { parseInstant } from '../../../src/kernel/time/instant';

describe('an instant', () => {
  it('is read to the millisecond, whatever its zone', () => {
    for (const [text, instant] of [
      ['2026-01-31T12:00:00Z', '2026-01-31T12:00:00.000Z'],
      ['2026-01-31t12:00:00z', '2026-01-31T12:00:00.000Z'],
      ['2026-01-31T12:00:00.5+02:00', '2026-01-31T10:00:00.500Z'],
      ['2026-01-31T12:00:00.123456789-11:30', '2026-01-31T23:30:00.123Z'],
      ['2024-02-29T23:59:59-00:00', '2024-02-29T23:59:59.000Z'],
      ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000Z'],
      ['9999-12-31T23:59:59.999Z', '9999-12-31T23:59:59.999Z'],
    ] as const) {
      expect([text, parseInstant(text)?.toISOString()]).toEqual([text, instant]);
    }
  });

  it('is no other text that a Date can be made of', () => {
    for (const text of [
      ...['2026-02-30T00:00:00Z', '2025-02-29T00:00:00Z', '2026-04-31T12:00:00+02:00', '2026-13-01T00:00:00Z'],
      ...['2026-00-10T00:00:00Z', '2026-01-00T00:00:00Z', '2026-01-31T24:00:00Z', '2026-01-31T12:60:00Z'],
      ...['2026-06-30T23:59:60Z', '2026-01-31T12:00:00+24:00', '2026-01-31T12:00:00+0200', '2026-01-31T12:00:00+02'],
      ...['2026-01-31T12:00:00', '2026-01-31T12:00Z', '2026-01-31 12:00:00Z', '2026-01-31', '2026', '20260131T120000Z'],
      ...['foo 7', 'yesterday', '1700000000', '0', '', ' ', 'Sat, 31 Jan 2026 12:00:00 GMT', '1/2/2026'],
      ...[' 2026-01-31T12:00:00Z', '2026-01-31T12:00:00Z\n', '2026-01-31T12:00:00.Z', '２026-01-31T12:00:00Z'],
      ...['0000-01-01T00:00:00Z', '0001-01-01T00:00:00+00:01', '9999-12-31T23:59:59-00:01', '+010000-01-01T00:00:00Z'],
    ]) {
      expect([text, parseInstant(text)]).toEqual([text, undefined]);
    }
  });

  it('is every one that JavaScript writes, and any day from 1 to 31 only if the month has it', () => {
    const years = {
      min: new Date('0001-01-01T00:00:00Z'),
      max: new Date('9999-12-31T23:59:59.999Z'),
      noInvalidDate: true,
    };
    fc.assert(fc.property(fc.date(years), (date) => parseInstant(date.toISOString())?.getTime() === date.getTime()));
    const two = (n: number) => String(n).padStart(2, '0');
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 9999 }),
        fc.integer({ min: 1, max: 12 }),
        fc.integer({ min: 1, max: 31 }),
        (year, month, day) => {
          const leap = (year % 4 === 0 && year % 100 !== 0) || year % 400 === 0;
          const days = [31, leap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]!;
          const text = `${String(year).padStart(4, '0')}-${two(month)}-${two(day)}T00:00:00Z`;
          return (parseInstant(text) !== undefined) === day <= days;
        },
      ),
    );
  });
});
