import { parseArgs } from 'node:util';
import { run } from './scenario';

/**
 * The contract of the store under load, as large as you like:
 * `npm run test:store -- [--writers 64] [--appends 10000] [--kills 200] [--seed N]`.
 */
export async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      writers: { type: 'string', default: '64' },
      appends: { type: 'string', default: '10000' },
      kills: { type: 'string', default: '200' },
      seed: { type: 'string', default: String(Math.floor(Math.random() * 1e6)) },
    },
  });
  const [writers, appends, kills, seed] = [values.writers, values.appends, values.kills, values.seed].map(Number) as [
    number,
    number,
    number,
    number,
  ];
  if (![writers, appends, kills, seed].every((n) => Number.isInteger(n) && n >= 0) || writers * appends === 0) {
    throw new Error('Usage: npm run test:store -- [--writers 64] [--appends 10000] [--kills 200] [--seed N]');
  }
  console.log(`Seed ${seed}: ${writers} writers of ${appends} commands each, in two processes`);
  const begun = Date.now();
  let told = begun;
  const onProgress = (acknowledged: number, killed: number) => {
    if (Date.now() - told < 5000) return;
    told = Date.now();
    const share = ((100 * acknowledged) / (writers * appends)).toFixed(0);
    const rate = Math.round((1000 * acknowledged) / (told - begun));
    console.log(`    ${share} %: ${acknowledged} commands acknowledged, ${rate}/s, ${killed} sessions killed`);
  };
  const outcome = await run({ seed, writers, appends, kills, onProgress });
  const { violations, acknowledged, events, repeats, writingMs, catchingUpMs } = outcome;
  const seconds = (ms: number) => `${(ms / 1000).toFixed(1)} s`;
  console.log(
    `${acknowledged} commands acknowledged in ${seconds(writingMs)} (${Math.round((1000 * acknowledged) / writingMs)}/s) ` +
      `while ${outcome.kills} sessions were killed; ${repeats} had to be sent again by their writers. ` +
      `${events} events in the log; all readers had seen them ${seconds(catchingUpMs)} after the last answer.`,
  );
  for (const { invariant, detail } of violations) console.log(`BROKEN: ${invariant}: ${detail}`);
  console.log(
    `${violations.length === 0 ? 'The contract holds' : 'The contract is broken'}, ${seconds(Date.now() - begun)} in all`,
  );
  process.exitCode = violations.length === 0 ? 0 : 1;
}
