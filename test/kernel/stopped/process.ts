import { serve } from '../child';
import { gate, openGates, startKernel } from '../support';
import { places, readers } from './readers';

/** The process says where it stands. */
export interface Standing {
  readonly standsAt: string;
}

/** The kernel in a process that will be stopped in the middle of everything. */
async function main(): Promise<void> {
  const { databaseUrl } = JSON.parse(process.argv[2]!) as { databaseUrl: string };
  places.poisoned = true;
  const kernel = await startKernel(databaseUrl, readers);
  const { opened } = gate();
  const stand = (standsAt: string) => {
    process.send!({ standsAt } satisfies Standing);
    return opened;
  };
  serve({
    /** From now on it stands still wherever it can, and stops as a whole when it is told to. */
    stand() {
      places.poisoned = false;
      places.stops = true;
      places.stand = stand;
      const readLog = kernel.store.readLog.bind(kernel.store);
      kernel.store.readLog = async (position, limit) => {
        const events = await readLog(position, limit);
        // a single event is read to be replayed
        if (limit === 1) await stand('replaying');
        return events;
      };
    },
    goOn: openGates,
    close: () => kernel.close(),
  });
}

void main();
