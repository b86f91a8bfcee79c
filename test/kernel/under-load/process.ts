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

export type Order = 'write' | 'repeat' | 'close';

export type Report =
  | { readonly type: 'done'; readonly order: Order | 'start' }
  | { readonly type: 'progress'; readonly acknowledged: number; readonly repeats: number }
  | { readonly type: 'violation'; readonly invariant: string; readonly detail: string };

/** The kernel with all readers and its share of the writers, as a process of its own. */
async function main(): Promise<void> {
  const part = JSON.parse(process.argv[2]!) as Part;
  const books = new Books(part.databaseUrl);
  await books.open();
  const kernel = await startKernel(part.databaseUrl, readers);
  const report = (message: Report) => process.send!(message);

  const orders: Record<Order, () => Promise<unknown>> = {
    async write() {
      const tell = () => report({ type: 'progress', acknowledged: books.count, repeats: books.repeats });
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
      for (const violation of books.violations) report({ type: 'violation', ...violation });
    },
  };
  process.on('message', (order: Order) => {
    void orders[order]().then(
      () => {
        report({ type: 'done', order });
        if (order === 'close') process.disconnect();
      },
      (error: Error) => {
        report({ type: 'violation', invariant: 'the test does what it says', detail: error.stack ?? error.message });
        report({ type: 'done', order });
      },
    );
  });
  report({ type: 'done', order: 'start' });
}

void main();
