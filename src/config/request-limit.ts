/** So many requests in so many seconds. */
export class RequestLimit {
  constructor(
    readonly quota: number,
    readonly seconds: number,
  ) {}

  toString(): string {
    return `${this.quota}/${this.seconds}`;
  }
}
