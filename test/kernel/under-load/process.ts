import { serve } from '../child';
import { startKernel } from '../support';
import { readers } from './views';
import { Books, Writer } from './writer';

/** What one process of the scenario has to do, as its only argument. */
export interface Part {
  readonly databaseUrl: string;
  readonly seed: number;
  /** Which of the writers it runs. */
  readonly writers: readonly number[];
  readonly appends: number;
}

/** How far its writers are. */
export interface Progress {
  readonly acknowledged: number;
  readonly repeats: number;
}

/** The kernel with all readers and its share of the writers, as a process of its own. */
async function main(): Promise<void> {
  const part = JSON.parse(process.argv[2]!) as Part;
  const books = new Books(part.databaseUrl);
  await books.open();
  const kernel = await startKernel(part.databaseUrl, readers);
  const tell = () => process.send!({ acknowledged: books.count, repeats: books.repeats } satisfies Progress);
  serve(
    {
      async write() {
        const progress = setInterval(tell, 20);
        const writers = part.writers.map((nth) => new Writer(kernel.store, books, part.seed, nth));
        await Promise.all(writers.map((writer) => writer.write(part.appends)));
        clearInterval(progress);
        tell();
        await books.flush();
      },
      repeat: () => books.repeat(kernel.store, 300),
      async close() {
        await kernel.close();
        await books.close();
      },
    },
    books.violations,
  );
}

void main();
