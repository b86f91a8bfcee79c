import { ConfigError } from '../config/config';

const most = 16;

export const help = `Runs Orderloom as several processes over one database, behind a load balancer on PORT.

Usage: npm run start:replicas [-- N | -- --help]

  N       processes, 1 to ${most} (2)
  --help  this text

HOST, PORT, DATABASE_URL and all other settings are those of npm start, whose --help lists them. Without DATABASE_URL, one
embedded Postgres serves all replicas. SHUTDOWN_DELAY is 2 here: kill -TERM of a replica loses no request, and it is started
again.`;

/** @returns how many replicas; undefined when help is asked for. @throws ConfigError */
export function readArguments(args: readonly string[]): number | undefined {
  if (args.includes('--help') || args.includes('-h')) return undefined;
  const [text = '2', ...others] = args;
  const count = /^\d{1,3}$/.test(text) ? Number(text) : 0;
  if (others.length === 0 && count >= 1 && count <= most) return count;
  throw new ConfigError(
    `Say how many replicas, 1 to ${most}, such as npm run start:replicas -- 3; --help explains it. It got: ${args.join(' ')}`,
  );
}
