import { getAlpha2Code, getSimpleAlpha2Code, isValid, toAlpha2 } from 'i18n-iso-countries';

/** Names in use that are not in the library: those of the Online Retail data set, and parts of a country. */
const otherNames: Readonly<Record<string, string>> = {
  eire: 'IE',
  rsa: 'ZA',
  england: 'GB',
  scotland: 'GB',
  wales: 'GB',
  'northern ireland': 'GB',
  holland: 'NL',
  korea: 'KR',
};

/** Which ISO 3166 leaves to users and CLDR reads as "unknown region". */
export const unknownCountry = 'ZZ';

/** A file has few, and looking them up takes long. */
const known = new Map<string, string | undefined>();

/** ISO 3166-1 alpha-2 of a country given by an English name or a code, in any case. */
export function countryCode(given: string): string | undefined {
  if (!known.has(given)) known.set(given, lookUp(given));
  return known.get(given);
}

function lookUp(given: string): string | undefined {
  const upper = given.toUpperCase();
  const byCode = isValid(upper) ? toAlpha2(upper) : undefined;
  return byCode ?? getAlpha2Code(given, 'en') ?? getSimpleAlpha2Code(given, 'en') ?? otherNames[given.toLowerCase()];
}
