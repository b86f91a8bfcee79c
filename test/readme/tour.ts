import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { blocksOf, filledIn, root } from './readme';
import type { Ran, Shell } from './shell';

/** What a reader sees of a block of the tour. */
interface Expectation {
  /** A word of the block, to tell which one is meant. */
  readonly block: string;
  readonly statuses: readonly number[];
  readonly output: RegExp;
  /** On every round but the first: which answers are replays, by their index. */
  readonly replayed?: readonly number[];
  /** It repeats a request until it has what it wants. */
  readonly waits?: true;
  /** On every round but the first, if it differs. */
  readonly outputAgain?: RegExp;
}

const expectations: readonly Expectation[] = [
  { block: 'access_token', statuses: [200, 200], output: /"sku":"TEA-EG-100"/ },
  {
    block: 'first-order',
    statuses: [202, 200],
    replayed: [0],
    output: /"status":"fulfilling","paymentStatus":"paid"/,
    outputAgain: /"status":"completed","paymentStatus":"paid"/,
  },
  {
    block: 'declined-order',
    statuses: [202, 200],
    replayed: [0],
    output:
      /stock\.reserved[^]*payment\.failed[^]*saga\.step-failed processPayment[^]*stock\.released[^]*order\.cancelled/,
  },
  {
    block: 'dispatch',
    statuses: [200, 200, 200, 200],
    replayed: [1, 2],
    waits: true,
    output: /"status":"dispatched"[^]*"status":"delivered"[^]*\n"status":"completed"\n$/,
  },
  { block: 'simulate', statuses: [200, 200], output: /^submitted\n[^]*action: 'cancel'[^]*code: 'order-shipped'/ },
  { block: 'npm run import', statuses: [], output: /file and server agree, to the last penny/ },
  { block: '--format woocommerce', statuses: [], output: /(17 orders[^]*file and server agree[^]*){2}/ },
];

export interface Visit {
  readonly port: number;
  readonly password: string;
  /** For a file of orders. */
  readonly directory: string;
  readonly again: boolean;
}

/** Runs the tour, block by block as the README has them, and checks what the reader sees. */
export async function takeTour(shell: Shell, visit: Visit): Promise<void> {
  const blocks = blocksOf('tour');
  expect(blocks).toHaveLength(expectations.length);
  for (const [nth, { text, line }] of blocks.entries()) {
    const expected = expectations[nth]!;
    expect(text).toContain(expected.block);
    const ran = await shell.run(withFewOrders(filledIn(text, visit), visit));
    expect({ line, ...seen(ran, expected) }).toEqual({ line, ...wanted(expected, visit.again) });
    expect(ran.output).toMatch((visit.again && expected.outputAgain) || expected.output);
  }
}

function seen({ failed, answers }: Ran, { statuses, waits }: Expectation) {
  // waiting takes as many requests as it takes: those that succeed are not counted
  const counted = waits ? answers.filter(({ status }, nth) => nth < statuses.length || status >= 400) : answers;
  return {
    failed,
    statuses: counted.map(({ status }) => status),
    replayed: statuses.flatMap((_, nth) =>
      /^idempotent-replayed: true/im.test(answers[nth]?.headers ?? '') ? [nth] : [],
    ),
  };
}

function wanted({ statuses, replayed = [] }: Expectation, again: boolean) {
  return { failed: [], statuses, replayed: again ? replayed : [] };
}

/** Imports into the server of the test; of the real orders the first 100 of 10,000 lines, because all take a minute. */
function withFewOrders(text: string, { port, directory }: Visit): string {
  return text.replace(/test\/data\/[\w-]+\.csv/g, (file) => {
    const lines = readFileSync(join(root, file), 'utf8').split('\n');
    const few = join(directory, 'orders.csv');
    if (file.includes('10k')) writeFileSync(few, lines.slice(0, 101).join('\n'));
    const name = file.includes('10k') ? few : file;
    return `'${name}' --url http://127.0.0.1:${port} --report '${join(directory, 'report.csv')}'`;
  });
}
