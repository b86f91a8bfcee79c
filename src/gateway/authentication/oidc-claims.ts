import type { JWTHeaderParameters, JWTPayload } from 'jose';
import type { Role } from '../../kernel/http/principal';
import { type Scope, scopes } from '../../kernel/http/scopes';
import type { FederatedProfile } from '../../modules/users/contracts/sign-in-federated';

/** Header types of access tokens. RFC 9068 has `at+jwt`; most providers still send `JWT`, for ID tokens as well. */
const accessTokenTypes = ['jwt', 'at+jwt', 'application/at+jwt'];

/** Names that Keycloak (`typ`) and Cognito (`token_use`) have for tokens that open nothing here. */
const otherUses = ['id', 'refresh', 'offline', 'logout'];

/** The issuer that a token names, before anything of it is verified; undefined for what is no JWT. */
export function namedIssuer(token: string): unknown {
  const from = token.indexOf('.') + 1;
  const to = token.indexOf('.', from);
  if (from === 0 || to === -1) return undefined;
  try {
    return (JSON.parse(Buffer.from(token.slice(from, to), 'base64url').toString()) as JWTPayload | null)?.iss;
  } catch {
    return undefined;
  }
}

/**
 * Why a token that the provider signed for this audience is no access token to be used as it is; undefined for one that is.
 * Providers sign ID and logout tokens with the same keys. A token with `cnf` is bound to a key that only its client has.
 */
export function whyNotBearer({ typ = 'jwt' }: JWTHeaderParameters, claims: JWTPayload): string | undefined {
  if (!accessTokenTypes.includes(typ.toLowerCase())) return `its type is ${typ}`;
  const uses = [claims['typ'], claims['token_use']].map((use) => textOf(use)?.toLowerCase() ?? '');
  if (uses.some((use) => otherUses.includes(use))) return `it is for another use (${uses.join(' ').trim()})`;
  if (claims['at_hash'] !== undefined || claims['c_hash'] !== undefined) return 'it is an ID token';
  if (claims['events'] !== undefined) return 'it is an event';
  if (claims['cnf'] !== undefined) return 'it is bound to a key (cnf)';
  if (!claims.sub) return 'it has no subject';
  return undefined;
}

/** What the account is opened with. */
export function profileOf(claims: JWTPayload): FederatedProfile {
  const { name, preferred_username: username, email, email_verified: verified } = claims;
  return {
    name: textOf(name) ?? textOf(username),
    // Some providers send booleans as text. "false" is text as well.
    email: verified === true || verified === 'true' ? textOf(email) : undefined,
  };
}

/** The roles to which `mapping` maps what the claim holds. Everybody is a customer. */
export function rolesOf(claims: JWTPayload, claim: string, mapping: ReadonlyMap<string, Role>): Role[] {
  const mapped = namesIn(claimAt(claims, claim)).flatMap((name) => mapping.get(name) ?? []);
  return [...new Set<Role>(['customer', ...mapped])];
}

/** What the token is limited to; undefined when it names no scope of ours. */
export function scopesOf({ scope, scp }: JWTPayload): Scope[] | undefined {
  const ours = [...namesIn(scope), ...namesIn(scp)].filter((name): name is Scope => Object.hasOwn(scopes, name));
  return ours.length > 0 ? ours : undefined;
}

/** By a dotted path. A name along it may contain dots itself, as `https://shop.example/roles` does. */
function claimAt(value: unknown, path: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  if (Object.hasOwn(value, path)) return (value as Record<string, unknown>)[path];
  for (let dot = path.indexOf('.'); dot !== -1; dot = path.indexOf('.', dot + 1)) {
    const name = path.slice(0, dot);
    const member = Object.hasOwn(value, name) ? (value as Record<string, unknown>)[name] : undefined;
    const found = claimAt(member, path.slice(dot + 1));
    if (found !== undefined) return found;
  }
  return undefined;
}

/** Of a list of names, or of text with spaces between them. */
function namesIn(value: unknown): string[] {
  if (Array.isArray(value)) return value.filter((each): each is string => typeof each === 'string');
  return typeof value === 'string' ? [value, ...value.split(/[\s,]+/)] : [];
}

function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
