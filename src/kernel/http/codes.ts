import { isValid } from 'i18n-iso-countries/index';
import { buildMessage, ValidateBy } from 'class-validator';

/** ISO 3166 leaves it to users, and CLDR reads it as "unknown region": for imported orders. */
export const unknownCountry = 'ZZ';

const currencies = new Set(Intl.supportedValuesOf('currency'));

/** A country of ISO 3166-1 alpha-2, in capitals, or {@link unknownCountry}. */
export const IsCountryCode = () =>
  isCode(
    'isCountryCode',
    (code) => /^[A-Z]{2}$/.test(code) && (isValid(code) || code === unknownCountry),
    'the two capital letters of a country in ISO 3166-1, such as GB',
  );

/** A currency of ISO 4217, in capitals. */
export const IsCurrencyCode = () =>
  isCode(
    'isCurrencyCode',
    (code) => currencies.has(code),
    'the three capital letters of a currency in ISO 4217, such as EUR',
  );

function isCode(name: string, validate: (code: string) => boolean, what: string): PropertyDecorator {
  return ValidateBy({
    name,
    validator: {
      validate: (value) => typeof value === 'string' && validate(value),
      defaultMessage: buildMessage((eachPrefix) => `${eachPrefix}$property must be ${what}`),
    },
  });
}
