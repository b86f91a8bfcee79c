import type { Logger } from '@nestjs/common';
import { messageOf } from './fault';

const everyMs = 60_000;

/** Trouble that comes back with every try: one line when it begins, and one a minute for as long as it lasts. */
export class RepeatedWarning {
  private saidAt = -Infinity;
  private omitted = 0;

  constructor(
    private readonly logger: Logger,
    private readonly what: string,
  ) {}

  warn(error: unknown): void {
    const now = performance.now();
    if (now - this.saidAt < everyMs) {
      this.omitted++;
      return;
    }
    const times = this.omitted === 0 ? '' : ` (${this.omitted} more times since the last line)`;
    this.saidAt = now;
    this.omitted = 0;
    this.logger.warn(`${this.what}: ${messageOf(error)}${times}`);
  }

  /** It works again: the next time is a new beginning. */
  over(): void {
    this.saidAt = -Infinity;
    this.omitted = 0;
  }
}
