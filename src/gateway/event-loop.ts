import { Injectable, type OnApplicationShutdown, type OnModuleInit } from '@nestjs/common';

const sampleMs = 100;
/** How late a timer may be in a process that keeps up, in ms. */
const maxDelayMs = 500;
/** A single pause, such as one of the garbage collector, counts as this much at most, however long it is, in ms. */
const maxPauseMs = 1000;
/** For how long the process does not keep up until requests are refused, and until it is not ready, in ms. */
const pressedMs = 2000;
const unwellMs = 5000;

/**
 * Whether the event loop of this process keeps up. Strain grows with the time that it does not, and falls as fast with the
 * time that it does, so that neither one pause nor one good moment decides.
 */
@Injectable()
export class EventLoop implements OnModuleInit, OnApplicationShutdown {
  private timer: NodeJS.Timeout | undefined;
  private sampledAt = 0;
  /** How late the last sample was, in ms. */
  private delayMs = 0;
  private strainMs = 0;
  private unwell = false;

  onModuleInit(): void {
    this.sampledAt = performance.now();
    this.timer = setInterval(() => this.sample(), sampleMs).unref();
  }

  onApplicationShutdown(): void {
    clearInterval(this.timer);
  }

  /** Requests have waited long, those that come now would, and others wait for them. */
  get isPressed(): boolean {
    return this.delayMs > maxDelayMs && this.strainMs > pressedMs;
  }

  /** What keeps this process from doing its work, part by part, as with `Subscriptions.obstacles`. */
  obstacles(): ReadonlyMap<string, string> {
    return new Map(this.unwell ? [['event-loop', 'does not keep up: the process has more to do than it can']] : []);
  }

  private sample(): void {
    const now = performance.now();
    const tookMs = now - this.sampledAt;
    this.sampledAt = now;
    this.delayMs = Math.max(0, tookMs - sampleMs);
    const countedMs = Math.min(tookMs, maxPauseMs);
    const strainMs = this.strainMs + (this.delayMs > maxDelayMs ? countedMs : -countedMs);
    this.strainMs = Math.min(unwellMs, Math.max(0, strainMs));
    if (this.strainMs === unwellMs) this.unwell = true;
    if (this.strainMs === 0) this.unwell = false;
  }
}
