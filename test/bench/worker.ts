import { join } from 'node:path';
import type { Ask, ContenderModule, Reply } from './contender';
import { appends, type Store } from './load';

/** The contender's side: opens its module, and does what the bench asks for, one after the other. */
let methods: Record<string, (...args: never[]) => unknown> = {};

process.on('message', (ask: Ask) => {
  void answer(ask).then((reply) => process.send!(reply));
});
// the bench is gone, or has what it wanted
process.on('disconnect', () => process.exit());

async function answer(ask: Ask): Promise<Reply> {
  try {
    if ('open' in ask) {
      // eslint-disable-next-line @typescript-eslint/no-require-imports -- peers are not there when this is compiled
      const module = require(join(__dirname, ask.module)) as ContenderModule;
      methods = await module.open(ask.open);
      if ('append' in methods) methods = { ...methods, ...appends(methods as unknown as Store) };
      return { id: ask.id };
    }
    return { id: ask.id, result: await methods[ask.method]!(...(ask.args as never[])) };
  } catch (error) {
    return { id: ask.id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}
