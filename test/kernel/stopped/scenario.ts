import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import type { Client } from 'pg';
import { createDatabase } from '../../support/database';
import { Child, type Edit, type Violation } from '../child';
import { aThing, connect, eventually, type Kernel, startKernel } from '../support';
import { delivered } from '../under-load/views';
import type { Standing } from './process';
import { readers, tables, views } from './readers';

/** The lease is 10 s, and was renewed a second before the stop at most. The rest is for a busy machine. */
const takenOverWithinMs = 22_000;

export interface Outcome {
  readonly violations: Violation[];
  /** From the stop until another process had done everything, in ms. */
  readonly takenOverMs: number;
}

/**
 * A process is stopped (SIGSTOP) while it has work of every kind in hand, for longer than its lease. Writers go on,
 * another process takes over and does everything, and then the first one wakes up in the middle of what it was doing.
 */
export async function run(planted: readonly Edit[] = []): Promise<Outcome> {
  const db = await createDatabase();
  const tester = await connect(db.url);
  const violations: Violation[] = [];
  const standing = new Set<string>();
  let first: Child<Standing> | undefined;
  let successor: Kernel | undefined;
  try {
    await tester.query(views);
    const onMessage = ({ standsAt }: Standing) => void standing.add(standsAt);
    first = new Child(join(__dirname, 'process.js'), { databaseUrl: db.url }, planted, onMessage);
    await first.done('start');
    const { store, deadLetters, ...kernel } = (successor = await startKernel(db.url, readers));

    const things = Array.from({ length: 5 }, aThing);
    let k = 0;
    const happen = (thing: { type: string; id: string }, more: object = {}) =>
      store.append(thing, [{ type: 'thing.happened', of: thing.id, k: ++k, ...more } as { type: string }]);
    const goOn = async () => {
      for (let n = 0; n < 40; n++) await happen(things[n % things.length]!);
    };
    await goOn();
    const bad = aThing();
    const { position } = await happen(bad, { poison: true });
    await happen(bad);
    await eventually(async () => (await deadLetters.list({ subscription: 'stopped.replaying' }, 10)).length === 2);

    // work of every kind comes into its hands, and stays there
    await first.tell('stand');
    await deadLetters.requestReplay('stopped.replaying', position, 'user:operator');
    await eventually(() => standing.has('replaying'));
    await happen(things[0]!);
    const held = await happen(things[1]!, { hold: 'handler' });
    await eventually(() => standing.has('reacting'));
    // its checkpoint is stored, as far as it may be
    await eventually(async () => (await checkpoints(tester)).get('stopped.reacting')! >= held.position - 1);
    await happen(aThing(), { hold: 'transaction' });
    await eventually(() => standing.has('in transaction'));
    await happen(aThing(), { hold: 'process' });
    const { pid } = first;
    await eventually(() => isStopped(pid));

    const stoppedAt = Date.now();
    await goOn();
    const behind = await delivered(tester, 60_000);
    // looked for once a second; if it does not come about, the check will say so
    await eventually(async () => (await open(tester)) === 0).catch(() => undefined);
    const takenOverMs = Date.now() - stoppedAt;
    if (takenOverMs > takenOverWithinMs) {
      const detail = `after ${takenOverMs} ms; ${behind.join(', ')}`;
      violations.push({ invariant: 'another process takes over when the lease has run out', detail });
    }
    violations.push(...(await check(tester)));
    const before = await checkpoints(tester);

    // it wakes up, and knows nothing of its successor
    first.kill('SIGCONT');
    await first.tell('goOn');
    await first.tell('close');
    violations.push(...first.violations);
    for (const [name, now] of await checkpoints(tester)) {
      if (now >= before.get(name)!) continue;
      const detail = `${name} went from ${before.get(name)} to ${now}`;
      violations.push({ invariant: 'a worker that was replaced moves no checkpoint', detail });
    }
    await goOn();
    await kernel.subscriptions.idle();
    violations.push(...(await check(tester)));
    return { violations, takenOverMs };
  } finally {
    first?.kill();
    await successor?.close();
    await tester.end();
    await db.drop();
  }
}

function isStopped(pid: number): boolean {
  return execFileSync('ps', ['-o', 'state=', '-p', String(pid)])
    .toString()
    .trim()
    .startsWith('T');
}

async function open(tester: Client): Promise<number> {
  const { rows } = await tester.query(`select from subscriptions.dead_letters where state in ('failed', 'parked')`);
  return rows.length;
}

async function checkpoints(tester: Client): Promise<Map<string, number>> {
  const { rows } = await tester.query<{ name: string; position: number }>(
    `select name, position::float8 from subscriptions.checkpoints where name like 'stopped.%'`,
  );
  return new Map(rows.map(({ name, position }) => [name, position]));
}

const statements: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    tables.flatMap((table) => [
      [
        `${table} was told every event once`,
        `select format('position %s: %s times', position, coalesce(times, 0)) as detail
         from (select position from event_store.events where event_type = 'thing.happened') e
         full join (select position, count(*) as times from ${table} group by 1) v using (position)
         where times is distinct from 1`,
      ],
      [
        `${table} was told the events of each aggregate in order`,
        `select format('position %s came after %s', position, before) as detail
         from (select position, lag(position, 1, 0::bigint) over (partition by aggregate_id order by nth) as before
               from ${table}) v
         where position <= before`,
      ],
    ]),
  ),
  'every reaction takes effect once': `
    select format('event %s has %s effects', k, coalesce(times, 0)) as detail
    from (select payload ->> 'k' as k from event_store.events where event_type = 'thing.happened') e
    full join (select payload ->> 'k' as k, count(*) as times from event_store.events where event_type = 'effect.had' group by 1) f using (k)
    where times is distinct from 1`,
  'no dead letter is left open': `
    select format('%s at %s is %s: %s', subscription, position, state, left(error, 300)) as detail
    from subscriptions.dead_letters where state <> 'replayed'`,
};

async function check(tester: Client): Promise<Violation[]> {
  const found: Violation[] = [];
  for (const [invariant, statement] of Object.entries(statements)) {
    const { rows } = await tester.query<{ detail: string }>(`${statement} limit 3`);
    found.push(...rows.map(({ detail }) => ({ invariant, detail })));
  }
  return found;
}
