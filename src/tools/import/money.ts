/** How many decimals amounts of a currency have: 2 for GBP, 0 for JPY. */
export function decimalsOf(currency: string): number {
  return new Intl.NumberFormat('en', { style: 'currency', currency }).resolvedOptions().maximumFractionDigits ?? 2;
}

/**
 * Integer minor units of an amount in text, digit by digit: no binary fraction is ever involved.
 *
 * @returns `malformed` for what is no plain decimal number, `too-fine` for one that could only be rounded
 */
export function parseMinor(text: string, decimals: number): number | 'malformed' | 'too-fine' {
  const [, sign, whole, fraction = ''] = /^([+-]?)(\d{1,12})(?:\.(\d{1,12}))?$/.exec(text) ?? [];
  if (whole === undefined) return 'malformed';
  const significant = fraction.replace(/0+$/, '');
  if (significant.length > decimals) return 'too-fine';
  const minor = Number(whole + significant.padEnd(decimals, '0'));
  return sign === '-' ? 0 - minor : minor;
}

/** `184,248.33 GBP` */
export function formatMinor(amountMinor: number, currency: string): string {
  const decimals = decimalsOf(currency);
  const digits = String(Math.abs(amountMinor)).padStart(decimals + 1, '0');
  const whole = Number(digits.slice(0, digits.length - decimals)).toLocaleString('en-GB');
  const fraction = decimals > 0 ? `.${digits.slice(-decimals)}` : '';
  return `${amountMinor < 0 ? '−' : ''}${whole}${fraction} ${currency}`;
}
