import type { Client } from 'pg';
import { connected } from './connected';

/** How often both sessions are compared, for a pooler that is busy with others at the same time. */
const rounds = 10;

/**
 * True when there is a pooler in between that lends a session for one transaction only, such as PgBouncer with
 * `pool_mode = transaction`. Settings, locks and LISTEN would be those of whoever used the session before.
 *
 * A pooler shows itself by the process id that it makes up for its client. Two clients at once then tell: in session mode
 * each keeps a server process of its own, otherwise they are given the same one, or a different one each time.
 */
export async function poolsTransactions(url: string): Promise<boolean> {
  return connected(url, async (one) => {
    const first = await serverProcess(one);
    if (first === (one as unknown as { processID: number }).processID) return false;
    return connected(url, async (other) => {
      const second = await serverProcess(other);
      if (second === first) return true;
      for (let round = 0; round < rounds; round++) {
        if ((await serverProcess(one)) !== first || (await serverProcess(other)) !== second) return true;
      }
      return false;
    });
  });
}

async function serverProcess(client: Client): Promise<number> {
  const { rows } = await client.query<{ pid: number }>('select pg_backend_pid() as pid');
  return rows[0]!.pid;
}
