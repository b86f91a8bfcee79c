import { random } from '../support/random';

/** Decisions that a seed determines. */
export class Dice {
  private readonly next: () => number;

  constructor(seed: number) {
    this.next = random(seed);
    // neighbouring seeds give neighbouring first numbers
    for (let skipped = 0; skipped < 3; skipped++) this.next();
  }

  /** Dice of request `nth` of a run: the same whatever the other requests do. */
  static of(seed: number, nth: number): Dice {
    return new Dice(Math.imul(seed + 1, 0x9e3779b1) ^ Math.imul(nth + 1, 0x85ebca6b));
  }

  chance(probability: number): boolean {
    return this.next() < probability;
  }

  /** Both bounds included; they may be as far apart as 2^53. */
  integer(min: number, max: number): number {
    return Math.min(max, min + Math.floor(this.next() * (max - min + 1)));
  }

  /** Any order of magnitude up to `max` is equally likely. */
  magnitude(max: number): number {
    return Math.max(1, Math.floor(max ** this.next()));
  }

  pick<T>(list: readonly T[]): T {
    return list[Math.floor(this.next() * list.length)]!;
  }

  /** Prefers the end of the list. */
  recent<T>(list: readonly T[]): T {
    return list[Math.floor(list.length * (1 - this.next() ** 2) * 0.999_999)]!;
  }

  weighted<T>(list: readonly T[], weight: (item: T) => number): T {
    let left = this.next() * list.reduce((sum, item) => sum + weight(item), 0);
    return list.find((item) => (left -= weight(item)) < 0) ?? list.at(-1)!;
  }

  text(length: number, alphabet = 'abcdefghijklmnopqrstuvwxyz0123456789'): string {
    return Array.from({ length }, () => alphabet[this.integer(0, alphabet.length - 1)]).join('');
  }

  uuid(): string {
    const hex = (length: number) => this.text(length, '0123456789abcdef');
    return `${hex(8)}-${hex(4)}-7${hex(3)}-8${hex(3)}-${hex(12)}`;
  }
}
