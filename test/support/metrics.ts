export interface Family {
  readonly type: string;
  readonly help: string;
}

export interface Scrape {
  readonly families: ReadonlyMap<string, Family>;
  /** By name and labels as they are written: `up{pool="reads",state="busy"}`. */
  readonly samples: ReadonlyMap<string, number>;
}

const name = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const label = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\[\\"n])*"`;
const sample = new RegExp(`^((${name})(?:\\{${label}(?:,${label})*\\})?) (\\S+)$`);
const comment = new RegExp(`^# (HELP|TYPE) (${name}) (.+)$`);

/**
 * Reads the Prometheus text format 0.0.4, and refuses what a scraper would not take: lines of another form, series
 * before the TYPE of their family or beside it, and a series told twice.
 */
export function parseMetrics(text: string): Scrape {
  if (!text.endsWith('\n')) throw new Error('The last line does not end');
  const families = new Map<string, Family>();
  const samples = new Map<string, number>();
  let help = '';
  let current = '';
  for (const line of text.split('\n')) {
    if (line === '') continue;
    const said = comment.exec(line);
    if (said?.[1] === 'HELP') {
      help = said[3]!;
    } else if (said) {
      if (families.has(said[2]!)) throw new Error(`Family told twice: ${line}`);
      families.set((current = said[2]!), { type: said[3]!, help });
    } else {
      const [, series, of, number] = sample.exec(line) ?? [];
      if (series === undefined || of === undefined) throw new Error(`Not the text format: ${line}`);
      const suffix = families.get(current)?.type === 'histogram' ? /^_(bucket|sum|count)$/ : /^$/;
      if (!of.startsWith(current) || !suffix.test(of.slice(current.length))) throw new Error(`Out of place: ${line}`);
      if (samples.has(series)) throw new Error(`Series told twice: ${line}`);
      const value = /^(\+Inf|-Inf|nan)$/i.test(number!) ? NaN : Number(number);
      if (Number.isNaN(value) && !/^([+-]Inf|nan)$/i.test(number!)) throw new Error(`No number: ${line}`);
      samples.set(series, value);
    }
  }
  return { families, samples };
}

/** As a scraper does it. @throws Error unless it is answered with metrics */
export async function scrape(url: string, headers: Record<string, string> = {}): Promise<Scrape> {
  const answer = await fetch(`${url}/metrics`, { headers });
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(`No metrics: ${answer.status} ${text}`);
  const type = answer.headers.get('content-type');
  if (type !== 'text/plain; version=0.0.4; charset=utf-8') throw new Error(`Not Prometheus' type: ${type}`);
  return parseMetrics(text);
}
