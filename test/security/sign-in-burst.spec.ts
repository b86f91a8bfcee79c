import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { tea } from '../journeys/shop';
import { AppProcess, freePort } from '../process/app-process';
import { createDatabase, type TestDatabase } from '../support/database';

/**
 * Reads on a connection of its own, one request after the other, until its input ends; prints the times in ms. A process of
 * its own: beside 500 requests of the same process, it would measure that one.
 */
const reader = `
  const http = require('node:http');
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const times = [];
  let reading = true;
  process.stdin.resume().on('end', () => (reading = false));
  const took = (ms) => (times.push(ms), setTimeout(read, 5));
  const read = () => {
    if (!reading) return process.stdout.write(JSON.stringify(times), () => process.exit());
    const began = performance.now();
    http.get(process.argv[1], { agent }, (response) => {
      response.resume().on('end', () => took(response.statusCode === 200 ? performance.now() - began : 1e9));
    }).on('error', () => took(1e9));
  };
  read();
`;

describe('500 simultaneous sign-ins', () => {
  let database: TestDatabase;
  let directory: string;
  let app: AppProcess;
  let url: string;

  beforeAll(async () => {
    database = await createDatabase();
    directory = mkdtempSync(join(tmpdir(), 'orderloom-burst-'));
    const PORT = String(await freePort());
    url = `http://127.0.0.1:${PORT}`;
    app = new AppProcess({
      DATABASE_URL: database.url,
      DATA_DIR: directory,
      PORT,
      DEMO_DATA: 'true',
      LOG_LEVEL: 'error',
      // else the limit would answer most of them, without a hash
      SIGN_IN_FAILURES_PER_ADDRESS: '1000000',
      RATE_LIMIT_SIGN_IN: 'off',
    });
    await app.ready(url);
  }, 60_000);
  afterAll(async () => {
    await app.end();
    rmSync(directory, { recursive: true, force: true });
    await database.drop();
  });

  const signIn = (username: string) =>
    new Promise<{ status: number; retryAfter?: string }>((resolve, reject) => {
      const sent = request(`${url}/v1/auth/token`, { method: 'POST', headers: { 'content-type': 'application/json' } });
      sent.on('error', reject).on('response', (response) => {
        response.resume().on('end', () => {
          resolve({ status: response.statusCode!, retryAfter: response.headers['retry-after'] });
        });
      });
      sent.end(JSON.stringify({ username, password: 'correct horse battery staple' }));
    });

  it('leave ordinary reads under 500 ms at the 99th percentile; most are answered with 503 and Retry-After', async () => {
    const rounds: number[] = [];
    for (let round = 0; round < 4; round++) {
      const child = spawn(process.execPath, ['-e', reader, `${url}/v1/products/${tea}`], {
        stdio: ['pipe', 'pipe', 'inherit'],
      });
      let output = '';
      child.stdout.on('data', (text: Buffer) => (output += text.toString()));
      const burst = Array.from({ length: 500 }, (_, nth) => signIn(`burst-${round}-${nth}@example.com`));
      const statuses = new Map<number, number>();
      for (const { status, retryAfter } of await Promise.all(burst)) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
        if (status === 503) expect(retryAfter).toBe('1');
      }
      child.stdin.end();
      await new Promise((resolve) => child.on('close', resolve));
      const times = JSON.parse(output) as number[];
      expect([...statuses.keys()].toSorted()).toEqual([401, 503]);
      expect(times.length).toBeGreaterThan(10);
      rounds.push(times.toSorted((a, b) => a - b)[Math.floor(times.length * 0.99)]!);
      if (process.env['SHOW_FIGURES']) console.log({ reads: times.length, p99: rounds.at(-1), statuses });
    }
    // The quietest round, since other tests use the same two cores. Without pacing it is 350 to 1,000 ms.
    expect(Math.min(...rounds)).toBeLessThan(250);
  }, 90_000);
});
