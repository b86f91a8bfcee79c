/** RFC 3339, 5.6: a day, a time and an offset from UTC. Leap seconds are left out: neither a Date nor Postgres holds them. */
const dateTime = /^(\d{4}-\d{2}-\d{2})T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:[01]\d|2[0-3]):[0-5]\d)$/;

/** What an instant looks like, for error messages: `createdFrom must be ${anInstant}`. */
export const anInstant = 'an RFC 3339 date-time with a zone, such as 2026-01-31T12:00:00Z';

/** Postgres, and the four digits of RFC 3339, reach from year 1 to year 9999. */
const first = Date.parse('0001-01-01T00:00:00Z');
const last = Date.parse('9999-12-31T23:59:59.999Z');

/**
 * The instant that an RFC 3339 date-time with a zone names, to the millisecond. The only way in for instants: `new Date`
 * reads `2026-02-30` as 2 March, `"foo 7"` as a day in 2001, and a time without a zone in the zone of the server.
 *
 * @returns undefined for any other text, a day that the calendar does not have, and years outside of 1 to 9999
 */
export function parseInstant(text: string): Date | undefined {
  const upper = text.toUpperCase();
  const day = dateTime.exec(upper)?.[1];
  if (day === undefined || !isInCalendar(day)) return undefined;
  const instant = new Date(upper);
  return instant.getTime() >= first && instant.getTime() <= last ? instant : undefined;
}

function isInCalendar(day: string): boolean {
  const midnight = new Date(`${day}T00:00:00Z`);
  return !Number.isNaN(midnight.getTime()) && midnight.toISOString().startsWith(day);
}
