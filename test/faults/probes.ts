import { setTimeout as delay } from 'node:timers/promises';

const everyMs = 200;
/** A load balancer would have given up before that. */
const patienceMs = 5000;

export interface Sample {
  readonly url: string;
  /** When it was asked and when it had answered, in ms of the epoch. */
  readonly askedAt: number;
  readonly at: number;
  /** 0 when there was no answer within 5 s. */
  readonly status: number;
  readonly said: string;
}

/** Asks every process all the time whether it is ready, and keeps each answer. */
export class Probes {
  readonly samples: Sample[] = [];
  private stopped = false;
  private readonly asking: Promise<unknown>;

  constructor(urls: readonly string[]) {
    this.asking = Promise.all(urls.map((url) => this.keepAsking(url)));
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.asking;
  }

  private async keepAsking(url: string): Promise<void> {
    for (; !this.stopped; await delay(everyMs)) {
      const askedAt = Date.now();
      const { status, said } = await ask(url);
      this.samples.push({ url, askedAt, at: Date.now(), status, said });
    }
  }
}

async function ask(url: string): Promise<Pick<Sample, 'status' | 'said'>> {
  try {
    const response = await fetch(`${url}/health/ready`, { signal: AbortSignal.timeout(patienceMs) });
    return { status: response.status, said: await response.text() };
  } catch (error) {
    return { status: 0, said: (error as Error).message };
  }
}
