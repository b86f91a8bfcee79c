import { createHash } from 'node:crypto';
import { readFileSync, readdirSync, readlinkSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** The embedded Postgres cannot run. The message is one sentence that says what to do. */
export class EmbeddedPostgresError extends Error {
  override readonly name = 'EmbeddedPostgresError';
}

/** Another living process runs the Postgres of that directory. */
export class DirectoryInUseError extends EmbeddedPostgresError {}

const HEARTBEAT_MS = 1_000;
/** Longer than any pause of a healthy event loop: a holder that misses it is taken for dead. */
const HEARTBEAT_PATIENCE_MS = 5_000;

/** Polls until the condition holds; false when it still does not at the end of the patience. */
export async function until(condition: () => boolean, patienceMs: number): Promise<boolean> {
  const deadline = Date.now() + patienceMs;
  while (!condition()) {
    if (Date.now() > deadline) return false;
    await sleep(5);
  }
  return true;
}

/**
 * What tells this incarnation of a pid from a later process with the same number: its start time in
 * clock ticks, on Linux; '0' elsewhere. Undefined when there is no such process. A zombie counts as
 * gone: it has released everything, yet under a careless pid 1 it keeps its number for ever.
 */
export function incarnation(pid: number): string | undefined {
  if (process.platform === 'linux') {
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
      // The command name stands in parentheses and may itself hold spaces and parentheses.
      const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
      return fields[0] === 'Z' || fields[0] === 'X' ? undefined : fields[19];
    } catch {
      return undefined;
    }
  }
  try {
    process.kill(pid, 0);
    return '0';
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' ? '0' : undefined;
  }
}

/**
 * Command lines of all processes by pid. Not the working directory, which would name the data
 * directory directly: root in a container may not read that of another user (no CAP_SYS_PTRACE).
 */
export function commandLines(): Map<number, string> {
  const found = new Map<number, string>();
  if (process.platform === 'linux') {
    for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
      try {
        found.set(Number(pid), readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim());
      } catch {
        // It ended while we looked.
      }
    }
  } else if (process.platform !== 'win32') {
    for (const line of execFileSync('ps', ['-axww', '-o', 'pid=,command='], { encoding: 'utf8' }).split('\n')) {
      const [, pid, command] = /^\s*(\d+)\s+(.*)$/.exec(line) ?? [];
      if (pid && command) found.set(Number(pid), command);
    }
  }
  return found;
}

/** Where pids mean the same as here: this boot of this machine, this container. */
function place(): string {
  try {
    const boot = readFileSync('/proc/sys/kernel/random/boot_id', 'utf8');
    return createHash('sha256').update(boot).update(readlinkSync('/proc/self/ns/pid')).digest('hex').slice(0, 8);
  } catch {
    return 'local';
  }
}

/** A claim is a file whose name says all: `lock.PID.INCARNATION.PLACE`. */
async function isLive(home: string, claim: string): Promise<boolean> {
  const [, pid, started, where] = claim.split('.');
  if (where === place()) return incarnation(Number(pid)) === started;
  // Made in another container on the same volume, or before a reboot: the pid says nothing, the pulse does.
  const touched = () => statSync(join(home, claim), { throwIfNoEntry: false })?.mtimeMs ?? 0;
  const before = touched();
  if (Date.now() - before > 3 * HEARTBEAT_PATIENCE_MS) return false;
  return until(() => touched() > before, HEARTBEAT_PATIENCE_MS);
}

function refusal(home: string, claim: string): DirectoryInUseError {
  const [, pid, , where] = claim.split('.');
  const command = where === place() ? commandLines().get(Number(pid)) : 'in another container or on another machine';
  return new DirectoryInUseError(
    `The data directory ${home} is in use by process ${pid} (${command ?? 'node'}): stop that process, ` +
      'choose another directory, or set DATABASE_URL in both so that they share one Postgres',
  );
}

/**
 * Takes the directory for this process and returns the function that gives it back.
 *
 * Every contender files a claim of its own and then looks for others, withdrawing when it sees a
 * live one; so of two at the same instant at least one sees the other. A name belongs to one
 * incarnation of one process only, hence removing a dead one can never hit a live successor, which
 * a single lock file that is read, judged and then replaced cannot promise. `kill -9` leaves a file
 * behind that the next start finds dead.
 *
 * @throws DirectoryInUseError when another living process, or this one, holds it.
 */
export async function lockDirectory(home: string): Promise<() => void> {
  const mine = `lock.${process.pid}.${incarnation(process.pid)}.${place()}`;
  const file = join(home, mine);
  for (let attempt = 1; ; attempt++) {
    try {
      writeFileSync(file, `held by process ${process.pid} since ${new Date().toISOString()}\n`, { flag: 'wx' });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw refusal(home, mine);
      throw error;
    }
    const rival = await liveRival(home, mine);
    if (!rival) break;
    rmSync(file, { force: true });
    // The rival may be another beginner that withdraws as well: whoever returns first, alone, wins.
    // One with a pulse is not: it has been watched for longer than that takes.
    if (attempt === 4 || !rival.endsWith(place())) throw refusal(home, rival);
    await sleep(20 + Math.random() * 60);
  }
  const pulse = setInterval(() => {
    try {
      utimesSync(file, new Date(), new Date());
    } catch {
      // The directory was removed under us; there is nothing left to hold.
    }
  }, HEARTBEAT_MS).unref();
  return () => {
    clearInterval(pulse);
    rmSync(file, { force: true });
  };
}

async function liveRival(home: string, mine: string): Promise<string | undefined> {
  const claims = readdirSync(home).filter((name) => name.startsWith('lock.') && name !== mine);
  const live = await Promise.all(claims.map((claim) => isLive(home, claim)));
  for (const dead of claims.filter((_, index) => !live[index])) rmSync(join(home, dead), { force: true });
  return claims.find((_, index) => live[index]);
}
