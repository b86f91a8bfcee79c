import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Lost, Reply } from './client';
import type { Operation } from './document';
import type { Sent } from './draft';
import type { Fault } from './oracles';

interface Failure {
  readonly fault: Fault;
  /** How often, by operation and status. */
  readonly where: Map<string, number>;
  readonly example: string;
}

/** Where they fail, it is as a rule for all operations at once: one example of each status will do. */
const general: ReadonlySet<string> = new Set(['the status is documented', 'an error is a problem (RFC 9457)']);

/** What was found, each kind once, and which operations were reached how. */
export class Report {
  private readonly failures = new Map<string, Failure>();
  private readonly seen = new Map<string, Map<string, number>>();
  private readonly directory: string;
  readonly statuses = new Map<string, number>();

  constructor(
    private readonly seed: number,
    private readonly url: string,
  ) {
    this.directory = join(tmpdir(), `orderloom-fuzz-failures-${seed}`);
  }

  get count(): number {
    return this.failures.size;
  }

  /** A fault of the whole run, or of what a request left behind. */
  note(fault: Fault, where = 'the run', example = ''): void {
    // numbers and ids differ from case to case
    const detail = fault.detail.replace(/[0-9a-f]{8}-[0-9a-f-]{27}|\d+/g, '#').slice(0, 60);
    const kind = `${fault.oracle} ${detail} ${general.has(fault.oracle) ? where.split(' → ')[1] : where}`;
    const known = this.failures.get(kind);
    if (known) {
      known.where.set(where, (known.where.get(where) ?? 0) + 1);
      return;
    }
    this.failures.set(kind, { fault, where: new Map([[where, 1]]), example });
    console.log(`  FAILED: ${fault.oracle}: ${where}: ${fault.detail.slice(0, 300)}`);
  }

  /** A fault of one answer. */
  fail(fault: Fault, sent: Sent, reply: Reply | Lost): void {
    const { draft } = sent;
    const before = draft.actor.history.slice(0, -1).slice(-5);
    const example = [
      `request ${draft.nth} of seed ${this.seed}, by ${draft.actor.name}; ${draft.mutations.join(' and ') || 'a valid request'}`,
      this.curl(sent),
      `answer: ${describe(reply)}`,
      ...(before.length > 0 ? ['before it, by the same actor:', ...before.map((line) => `  ${line}`)] : []),
      `again: npm run test:fuzz -- --seed ${this.seed} --first ${Math.max(0, draft.nth - 50)} --requests 60`,
    ];
    const status = 'status' in reply ? reply.status : reply.lost;
    this.note(fault, `${draft.operation.name} → ${status}`, example.join('\n'));
  }

  saw(operation: Operation, status: number | string): void {
    const counts = this.seen.get(operation.id) ?? new Map<string, number>();
    const group = typeof status === 'number' ? `${Math.floor(status / 100)}xx` : status;
    counts.set(group, (counts.get(group) ?? 0) + 1);
    this.seen.set(operation.id, counts);
    this.statuses.set(String(status), (this.statuses.get(String(status)) ?? 0) + 1);
  }

  /** An operation that was never carried out was not tested. */
  unreached(operations: readonly Operation[], unreachable: Readonly<Record<string, string>>): Fault[] {
    return operations
      .filter(({ id }) => !this.seen.get(id)?.get('2xx') && !(id in unreachable))
      .map(({ id, name }) => ({
        oracle: 'every operation is reached',
        detail: `${id} (${name}) never answered 2xx: make the fuzzer reach it, or say in knowledge.ts why it cannot`,
      }));
  }

  print(operations: readonly Operation[], unreachable: Readonly<Record<string, string>>): void {
    const groups = ['2xx', '3xx', '4xx', '5xx', 'lost'];
    const width = Math.max(...operations.map(({ id }) => id.length));
    console.log(`\n${'operation'.padEnd(width)} ${groups.map((group) => group.padStart(6)).join('')}`);
    for (const { id } of operations) {
      const counts = this.seen.get(id);
      const cells = groups.map((group) => String(counts?.get(group) ?? '').padStart(6)).join('');
      const why = !counts?.get('2xx') && id in unreachable ? `  ${unreachable[id]}` : '';
      console.log(`${id.padEnd(width)} ${cells}${why}`);
    }
    for (const [nth, { fault, where, example }] of [...this.failures.values()].entries()) {
      const places = [...where].map(([place, count]) => `${place} (${count})`);
      const others = places.length > 12 ? ` and ${places.length - 12} more` : '';
      console.log(`\n${nth + 1}. ${fault.oracle}: ${fault.detail}\n   ${places.slice(0, 12).join(', ')}${others}`);
      if (example) console.log(example.replace(/^/gm, '   '));
    }
  }

  /** A command that sends the request again; real tokens are for the reader to fill in. */
  private curl({ draft, bytes, body }: Sent): string {
    const { hostname, port } = new URL(this.url);
    const own = draft.actor.role === 'forged' ? undefined : draft.actor.token;
    const text = bytes.toString('latin1');
    if (draft.distort || /[^\t\r\n -~]/.test(text.slice(0, text.indexOf('\r\n\r\n')))) {
      return `nc ${hostname} ${port} < ${this.keep(draft.nth, bytes)}`;
    }
    const [first, ...lines] = text.slice(0, text.indexOf('\r\n\r\n')).split('\r\n');
    const target = first!.split(' ')[1]!;
    const headers = lines.filter((line) => !/^(host: 127|content-length: \d+$)/i.test(line));
    const token = `$${draft.actor.role.toUpperCase()}_TOKEN`;
    const named = headers.map((line) => (own ? line.replace(own, token) : line));
    const shown = named.map((line) => (line.length > 300 ? `${line.slice(0, 300)}…(${line.length})` : line));
    const printable = body && body.length <= 1500 && /^[ -~\u00a0-\ud7ff]*$/.test(body.toString());
    const data = !body
      ? []
      : [`--data-binary ${printable ? quoted(body.toString()) : `@${this.keep(draft.nth, body)}`}`];
    return [
      `curl -i --path-as-is --globoff -X ${draft.method} ${quoted(`${this.url}${target.slice(0, 3000)}`)}`,
      ...shown.map((line) => `-H ${line.includes(token) ? `"${line}"` : quoted(line)}`),
      ...data,
    ].join(' \\\n    ');
  }

  private keep(nth: number, bytes: Buffer): string {
    mkdirSync(this.directory, { recursive: true });
    const file = join(this.directory, `request-${nth}`);
    writeFileSync(file, bytes);
    return file;
  }
}

export function describe(reply: Reply | Lost): string {
  if ('lost' in reply) return `${reply.lost}: ${reply.detail}`;
  const { status, headers, body, ms } = reply;
  return `${status} in ${Math.round(ms)} ms, ${headers.get('content-type') ?? 'no type'}, ${body.length} bytes: ${body.toString().slice(0, 600)}`;
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
