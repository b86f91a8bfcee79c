import { getAlpha2Code, getSimpleAlpha2Code, isValid, toAlpha2 } from 'i18n-iso-countries';
import { ImportError } from './import-error';

/** Names in use that are not in the library: those of the Online Retail data set, and parts of a country. */
const otherNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    eire: 'IE',
    rsa: 'ZA',
    england: 'GB',
    scotland: 'GB',
    wales: 'GB',
    'northern ireland': 'GB',
    holland: 'NL',
    korea: 'KR',
  }),
);

/** Which ISO 3166 leaves to users and CLDR reads as "unknown region". */
export const unknownCountry = 'ZZ';

/** Names of countries as a file has them, and what they stand for. */
export type CountryNames = ReadonlyMap<string, string>;

/**
 * ISO 3166-1 alpha-2 of a country given by an English name or a code, in any case, or by one of `names`.
 *
 * @throws ImportError for one of `names` that stands for no country
 */
export function countryReader(names: CountryNames = new Map()): (given: string) => string | undefined {
  // a file has few, and looking them up takes long
  const known = new Map<string, string | undefined>();
  for (const [name, country] of names) {
    const code = lookUp(country);
    if (code === undefined) throw new ImportError(`--countries: ${country} is no country: give a code such as GB.`);
    known.set(name.toLowerCase(), code);
  }
  return (given) => {
    const name = given.toLowerCase();
    if (!known.has(name)) known.set(name, lookUp(given));
    return known.get(name);
  };
}

function lookUp(given: string): string | undefined {
  const upper = given.toUpperCase();
  const byCode = isValid(upper) ? toAlpha2(upper) : undefined;
  return (
    byCode ?? getAlpha2Code(given, 'en') ?? getSimpleAlpha2Code(given, 'en') ?? otherNames.get(given.toLowerCase())
  );
}
