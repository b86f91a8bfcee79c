import { settings } from './setting';

/** What only settings of Orderloom begin with. Others, such as DATABASE_ and LOG_, are used by many programs. */
const ownPrefixes = ['ORDERLOOM_', 'OIDC_', 'RATE_LIMIT_', 'SIGN_IN_', 'TRUSTED_', 'ACCESS_TOKEN_'];

const isOurs = (name: string) => ownPrefixes.some((prefix) => name.startsWith(prefix));

/** Kubernetes and links of Docker describe each service by variables that begin with its name, such as ORDERLOOM_PORT. */
const describesService = (name: string, value: string) =>
  /_SERVICE_(HOST|PORT)|_PORT_\d+_(TCP|UDP|SCTP)|_ENV_/.test(name) ||
  /^(tcp|udp|sctp):\/\//.test(value) ||
  (name.endsWith('_NAME') && value.startsWith('/'));

/** Names of up to so many characters are near to too many variables of other programs: HOST to HOSTS, PORT to SORT. */
const shortName = 5;

/** Sentences about variables that were probably meant to be settings, and have no effect. */
export function unknownSettings(env: Readonly<Record<string, string | undefined>>): string[] {
  const names = settings().map(({ name }) => name);
  return Object.entries(env).flatMap(([name, value]) => {
    if (!value || names.includes(name) || describesService(name, value)) return [];
    const meant = nearestTo(name, names);
    // with the right name beside it, the other is somebody else's
    const isTypo = meant !== undefined && !env[meant];
    if (!isTypo && !isOurs(name)) return [];
    const advice = meant ? `Did you mean ${meant}?` : 'npm start -- --help lists the settings.';
    return [`${name} is not a setting of Orderloom and has no effect. ${advice}`];
  });
}

function nearestTo(given: string, names: readonly string[]): string | undefined {
  const bare = given.toUpperCase().replace(/^ORDERLOOM_/, '');
  if (given === `ORDERLOOM_${bare}` && names.includes(bare)) return bare;
  const near = names
    .filter((name) => name.length > shortName)
    .map((name) => ({ name, distance: distanceBetween(bare, name), allowed: mistakesIn(name, isOurs(given)) }))
    .filter(({ distance, allowed }) => distance <= allowed);
  return near.sort((a, b) => a.distance - b.distance)[0]?.name;
}

/** How many a variable may have and still be taken for the setting. */
function mistakesIn({ length }: string, ours: boolean): number {
  if (length < 9) return 1;
  return ours ? Math.floor(length / 4) : 2;
}

/** Characters to insert, remove, replace or swap with the next one (optimal string alignment). */
function distanceBetween(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= a.length; row++) {
    rows[row] = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      rows[row]![column] = Math.min(
        rows[row - 1]![column]! + 1,
        rows[row]![column - 1]! + 1,
        rows[row - 1]![column - 1]! + (same ? 0 : 1),
        swapped ? rows[row - 2]![column - 2]! + 1 : Infinity,
      );
    }
  }
  return rows[a.length]![b.length]!;
}
