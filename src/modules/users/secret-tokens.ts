import { createHash, randomBytes } from 'node:crypto';
import { crc32 } from 'node:zlib';

const alphabet = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz';
/** 62⁴³ is more than 2²⁵⁶, 62⁶ more than 2³². */
const secretLength = 43;
const checksumLength = 6;

/**
 * A secret that a program carries, such as `ol_key_…`: a prefix by which people and secret scanners recognise it, 32 random
 * bytes, and a checksum by which a mistyped or invented one is told without a look-up, as GitHub's tokens have it.
 */
export class SecretTokens {
  private readonly form: RegExp;

  /** @param prefix such as `ol_key_` */
  constructor(private readonly prefix: string) {
    this.form = new RegExp(`^${prefix}[0-9A-Za-z]{${secretLength + checksumLength}}$`);
  }

  /** @param secret 32 bytes that nobody can guess */
  of(secret: Buffer = randomBytes(32)): string {
    const text = this.prefix + base62(BigInt(`0x${secret.toString('hex')}`), secretLength);
    return text + checksum(text);
  }

  isWellFormed(token: string): boolean {
    return this.form.test(token) && token.endsWith(checksum(token.slice(0, -checksumLength)));
  }
}

/** What is stored of a token. One round of SHA-256 is enough: unlike passwords, these cannot be guessed. */
export function hashOf(token: string): Buffer {
  return createHash('sha256').update(token).digest();
}

function checksum(text: string): string {
  return base62(BigInt(crc32(text)), checksumLength);
}

function base62(value: bigint, length: number): string {
  let text = '';
  for (let rest = value; text.length < length; rest /= 62n) text = alphabet[Number(rest % 62n)]! + text;
  return text;
}
