import { setTimeout as delay } from 'node:timers/promises';
import { newId } from '../../../src/kernel/ids';
import { serve } from '../child';
import { startKernel } from '../support';
import { type Build, builds } from './builds';

/** What a process of the scenario has to do, as its only argument. */
export interface Part {
  readonly databaseUrl: string;
  readonly build: Build;
  /** Numbers its events: no two processes write the same. */
  readonly first: number;
}

const writers = 2;
/** Between two events of a writer, so that the readers keep up. */
const pauseMs = 15;
const things = Array.from({ length: 5 }, newId);

/** One of the two builds: it runs its subscriptions, and writes events until it is told to stop. */
async function main(): Promise<void> {
  const { databaseUrl, build, first } = JSON.parse(process.argv[2]!) as Part;
  const { providers, writes } = builds[build];
  const kernel = await startKernel(databaseUrl, [...providers]);
  let written = 0;
  let over = false;
  const write = async () => {
    for (; !over; await delay(pauseMs)) {
      const n = first + written++;
      const id = things[n % things.length]!;
      await kernel.store.append({ type: 'thing', id }, [
        { type: writes[n % writes.length]!, of: id, n } as { type: string },
      ]);
    }
  };
  // from its first moment on: whatever it does not yet own belongs to another build
  const writing = Array.from({ length: writers }, write);
  serve({
    async stop() {
      over = true;
      await Promise.all(writing);
    },
    close: () => kernel.close(),
  });
}

void main();
