import { Contender } from './contender';
import type { Appended } from './load';
import { atLeast, atMost, type Comparison, type Line, median } from './report';
import type { Bench, Run } from './bench';

export const ours = { name: 'Orderloom', module: 'ours/store', migrated: true };
const handWritten = { name: 'prepared INSERT, by hand', module: 'ours/hand-written' };
const emmett = { name: 'Emmett', module: 'peers/emmett' };

/** What installs from the registry and works; those that do not are in README.md, with the reason. */
const stores = [
  { name: 'Castore', module: 'peers/castore' },
  { name: 'Act', module: 'peers/act' },
  { name: 'Eventually', module: 'peers/eventually' },
  { name: 'reSolve', module: 'peers/resolve' },
  { name: 'Schemeless', module: 'peers/schemeless' },
  { name: 'Acuris', module: 'peers/acuris' },
  { name: 'EvtStore', module: 'peers/evtstore' },
  { name: 'Emmett on Kysely', module: 'peers/emmett-kysely' },
];

interface Entry {
  readonly name: string;
  readonly module: string;
  readonly migrated?: boolean;
  /** Of a database that is there already, and stays. Default: a new one. */
  readonly url?: string;
}

/**
 * Rounds of all contenders, turn by turn, each in its own database, and each acknowledged append looked for in it.
 *
 * @param callers how many there are at a time; for each number a round of its own
 * @returns by contender, then by number of callers
 */
export async function compete(
  run: Run,
  bench: string,
  entries: readonly Entry[],
  callers: readonly number[],
): Promise<Appended[][][]> {
  const contenders: Contender[] = [];
  const appended: Appended[][][] = entries.map(() => callers.map(() => []));
  try {
    const events: number[] = [];
    for (const [nth, { name, module, migrated, url }] of entries.entries()) {
      const database = url ?? (await run.server.database(`${bench}_${nth}`, migrated));
      const contender = await Contender.start(name, module, database);
      contenders.push(contender);
      events.push(await contender.ask<number>('stored'));
    }
    await run.server.query('checkpoint');
    // the first round is for warming up
    for (let round = 0; round <= run.rounds; round++) {
      for (const [which, concurrency] of callers.entries()) {
        for (let turn = 0; turn < entries.length; turn++) {
          const nth = (turn + round) % entries.length;
          const contender = contenders[nth]!;
          const result = await contender.ask<Appended>('round', concurrency, run.seconds * (round === 0 ? 500 : 1000));
          events[nth]! += result.count;
          const stored = await contender.ask<number>('stored');
          if (stored !== events[nth]) throw new Error(`${contender.name} has ${stored} events, not ${events[nth]}`);
          const rate = Math.round((result.count / result.ms) * 1000);
          run.progress(`${bench} ${round || 'warm-up'}: ${contender.name}, ${concurrency} callers, ${rate}/s`);
          if (round > 0) appended[nth]![which]!.push(result);
        }
      }
    }
  } finally {
    await Promise.all(contenders.map((contender) => contender.end()));
    for (const [nth, { url }] of entries.entries()) if (!url) await run.server.drop(`${bench}_${nth}`);
  }
  return appended;
}

export const rates = (rounds: readonly Appended[]) => rounds.map(({ count, ms }) => (count / ms) * 1000);

async function throughput(
  run: Run,
  bench: string,
  entries: readonly Entry[],
  callers: number,
  goals: readonly number[],
) {
  const appended = (await compete(run, bench, [ours, ...entries], [callers])).map(([rounds]) => rounds!);
  const mine = rates(appended[0]!);
  const others = entries.map(({ name }, nth): Line => {
    const rounds = rates(appended[nth + 1]!);
    const ratio = median(mine) / median(rounds);
    return { contender: name, rounds, ratio, goal: atLeast(goals[nth]!, ratio) };
  });
  return [{ contender: ours.name, rounds: mine }, ...others];
}

export const append: Bench = {
  name: 'append',
  about: 'one event a command, 128 callers, against every other store',
  async run(run): Promise<Comparison[]> {
    const comparison: Comparison = {
      name: 'append',
      title: 'Append: 128 callers, one event a command',
      about:
        'Each caller starts a stream with an event of about 200 bytes, waits until it is on disk, and goes on with the next. 32 connections a peer, where its size can be set.',
      unit: 'events/s',
      lines: await throughput(run, 'append', [emmett, ...stores], 128, [10, ...stores.map(() => 5)]),
    };
    return [comparison];
  },
};

export const insert: Bench = {
  name: 'insert',
  about: '32 callers, against one prepared INSERT a commit',
  async run(run): Promise<Comparison[]> {
    const comparison: Comparison = {
      name: 'insert',
      title: 'Append: 32 callers, against hand-written SQL',
      about:
        'The same, against a prepared INSERT and its own commit for each event over 32 connections, into a table of the same columns that has a primary key and no other index.',
      unit: 'events/s',
      lines: await throughput(run, 'insert', [handWritten], 32, [1]),
    };
    return [comparison];
  },
};

export const lone: Bench = {
  name: 'lone',
  about: 'one caller: the time of one append, against one prepared INSERT',
  async run(run): Promise<Comparison[]> {
    const [mine, theirs] = (await compete(run, 'lone', [ours, handWritten], [1])).map(([rounds]) =>
      rounds!.map(({ p50 }) => p50),
    ) as [number[], number[]];
    const cost = median(mine) / median(theirs);
    const comparison: Comparison = {
      name: 'lone',
      title: 'One lone append, against hand-written SQL',
      about: 'A single caller. The median time of an append in each round, from the call to its acknowledgement.',
      unit: 'ms',
      lines: [
        { contender: ours.name, rounds: mine },
        { contender: handWritten.name, rounds: theirs, ratio: cost, goal: atMost(2, cost) },
      ],
    };
    return [comparison];
  },
};
