/** One line of the table: a contender in one of the comparisons. */
export interface Line {
  readonly contender: string;
  /** One figure a round, in the comparison's unit. */
  readonly rounds: readonly number[];
  /** How many times better than this contender ours is: the quotient of the medians. */
  readonly ratio?: number;
  readonly goal?: Goal;
}

/** A goal, and what was reached: `ratio` for a comparison, or the figure itself. */
export interface Goal {
  readonly text: string;
  readonly met: boolean;
  /** What is missing, in words; for a goal that was not met. */
  readonly missing?: string;
}

export interface Comparison {
  /** As it is named on the command line. */
  readonly name: string;
  readonly title: string;
  /** What was done, in a sentence or two. */
  readonly about: string;
  readonly unit: 'events/s' | 'orders/s' | 'ms';
  readonly lines: readonly Line[];
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memory: string;
  readonly node: string;
  readonly postgres: string;
  readonly durability: string;
  readonly date: string;
  /** How the run was asked for. */
  readonly run: string;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** At least `times` as fast as the other, or as often: more is better. */
export function atLeast(times: number, ratio: number): Goal {
  const met = ratio >= times;
  return { text: `≥ ${times}×`, met, ...(!met && { missing: `${figure(ratio)}× of ${times}×` }) };
}

/** A cost of at most `times` that of the other. */
export function atMost(times: number, cost: number): Goal {
  const met = cost <= times;
  return { text: `≤ ${times}× its time`, met, ...(!met && { missing: `${figure(cost)}× where ${times}× is allowed` }) };
}

/** Three significant digits; whole numbers with separators. */
export function figure(value: number): string {
  if (value >= 1000) return Math.round(value).toLocaleString('en-GB');
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

export function table({ unit, lines }: Comparison): string {
  const rows = lines.map(({ contender, rounds, ratio, goal }) => [
    contender,
    figure(median(rounds)),
    `${figure(Math.min(...rounds))} – ${figure(Math.max(...rounds))}`,
    ratio === undefined ? '' : `${figure(ratio)}×`,
    goal?.text ?? '',
    goal ? (goal.met ? 'yes' : '**no**') : '',
  ]);
  const head = ['', `median, ${unit}`, 'spread', 'ratio', 'goal', 'met'];
  return [row(head), row(['---', '--:', '--:', '--:', '--:', ':-:']), ...rows.map(row)].join('\n');
}

export function markdown(comparisons: readonly Comparison[], machine: Machine): string {
  return `# Performance

Written by \`npm run bench\`; how it is measured, and what was learned from it, is in
[test/bench](../test/bench/README.md). Ratios are what to look at: all contenders ran in the same run on the same machine
against the same Postgres, turn by turn. *Ratio* is how many times more than the contender Orderloom does, or how many
times longer it takes where a time is compared.

![Ratios to the contenders](performance.svg)

| | |
|---|---|
| machine | ${machine.cpu}, ${machine.cores} cores, ${machine.memory}, shared by Node and Postgres |
| software | Node ${machine.node}, PostgreSQL ${machine.postgres} |
| durability | ${machine.durability} |
| run | ${machine.date}, ${machine.run} |

${comparisons.map((comparison) => `## ${comparison.title}\n\n${comparison.about}\n\n${table(comparison)}`).join('\n\n')}
`;
}
