import { Injectable } from '@nestjs/common';
import { Subscriptions } from '../kernel/subscriptions/subscriptions';
import { EventLoop } from './event-loop';

/** Whether this process can do all its work. */
@Injectable()
export class Readiness {
  constructor(
    private readonly eventLoop: EventLoop,
    private readonly subscriptions: Subscriptions,
  ) {}

  /** What keeps it from doing so: part by part, with the reason. Asks nobody, so it answers at once. */
  obstacles(): ReadonlyMap<string, string> {
    return new Map([...this.eventLoop.obstacles(), ...this.subscriptions.obstacles()]);
  }
}
