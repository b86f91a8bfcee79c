import { createHmac } from 'node:crypto';
import type { Json } from '../support/api';
import type { Dice } from './dice';
import type { Pool } from './pool';

export type Role = 'anonymous' | 'customer' | 'staff' | 'admin' | 'forged';

/** Somebody who sends requests. */
export interface Actor {
  readonly name: string;
  readonly role: Role;
  token?: string;
  readonly credentials?: { readonly username: string; readonly password: string };
  readonly userId?: string;
  /** ETags as this actor read them, by path. */
  readonly etags: Map<string, string>;
  /** The last requests and their answers, newest last. */
  readonly history: string[];
}

/** Sends a request that is no part of the fuzzing. */
export type Call = (
  method: string,
  path: string,
  token: string | undefined,
  body?: Json,
) => Promise<{ status: number; body: Json }>;

const wanted: Readonly<Record<'customer' | 'staff' | 'admin', number>> = { customer: 6, staff: 3, admin: 2 };
const most = 40;

/**
 * All who take part. Requests of the fuzzer erase accounts, take roles and change passwords: who can no longer sign in
 * is replaced. The root administrator takes no part, so that there is always somebody who can give roles.
 */
export class Actors {
  readonly all: Actor[] = [actor('anonymous', 'anonymous')];
  private root = '';
  private opened = 0;
  /** Tokens that the app has refused, or whose account was closed. */
  readonly refusedTokens: string[] = [];

  constructor(
    private readonly call: Call,
    private readonly pool: Pool,
    private readonly rootCredentials: { username: string; password: string },
    secret: string | undefined,
  ) {
    pool.hide(rootCredentials.username);
    for (const [name, token] of Object.entries(forgeries(secret))) this.all.push({ ...actor(name, 'forged'), token });
  }

  get rootToken(): string {
    return this.root;
  }

  async open(): Promise<void> {
    this.root = await this.signIn(this.rootCredentials);
    const { body } = await this.call('GET', '/v1/users/me', this.root);
    this.pool.hide(body['id'] as string);
    await this.replenish();
  }

  of(role: Role): Actor[] {
    return this.all.filter((actor) => actor.role === role);
  }

  choose(dice: Dice, weight: (role: Role) => number): Actor {
    const shares: [Role, number][] = [
      ['customer', 9],
      ['staff', 6],
      ['admin', 4],
      ['anonymous', 0.7],
      ['forged', 0.7],
    ];
    const able = (role: Role) => this.of(role).filter(({ token }) => token !== undefined || role === 'anonymous');
    const present = shares.filter(([role]) => able(role).length > 0);
    const [role] = dice.weighted(present, ([role, share]) => share * weight(role));
    return dice.pick(able(role));
  }

  /** The app did not take this actor's token, which was a good one. */
  refused(actor: Actor, token: string): void {
    if (actor.token !== token || actor.role === 'forged') return;
    this.retire(actor);
  }

  /** An account was opened by a request, or signed in to: now it takes part. */
  welcome(username: string, password: string, token: string | undefined): void {
    const known = this.all.find((each) => each.credentials?.username === username);
    if (known) {
      if (token !== undefined) known.token = token;
      return;
    }
    if (this.all.length >= most) return;
    const name = `customer ${++this.opened} (${username})`;
    this.all.push({ ...actor(name, 'customer'), token, credentials: { username, password } });
  }

  /** Signs in again who can, and opens new accounts for those who are gone. */
  async replenish(): Promise<void> {
    const { status } = await this.call('GET', '/v1/users/me', this.root);
    if (status === 401) this.root = await this.signIn(this.rootCredentials);
    for (const each of this.all.filter(({ token, credentials }) => !token && credentials)) {
      each.token = await this.signIn(each.credentials!).catch(() => undefined);
      if (!each.token) this.all.splice(this.all.indexOf(each), 1);
    }
    for (const role of ['customer', 'staff', 'admin'] as const) {
      while (this.of(role).length < wanted[role]) this.all.push(await this.newAccount(role));
    }
  }

  private retire(actor: Actor): void {
    this.refusedTokens.push(actor.token!);
    if (this.refusedTokens.length > 20) this.refusedTokens.shift();
    actor.token = undefined;
    const forged = this.all.find(({ name }) => name === 'revoked token');
    const token = this.refusedTokens.at(-1);
    if (forged) forged.token = token;
    else this.all.push({ name: 'revoked token', role: 'forged', token, etags: new Map(), history: [] });
  }

  private async newAccount(role: 'customer' | 'staff' | 'admin'): Promise<Actor> {
    const nth = ++this.opened;
    const username = `${role}-${nth}-${Date.now()}@example.com`;
    const password = `fuzz ${nth} kettle ${Date.now()} lantern`;
    const registered = await this.call('POST', '/v1/auth/register', undefined, {
      email: username,
      name: role,
      password,
    });
    const userId = registered.body['id'] as string | undefined;
    if (registered.status !== 201 || !userId) {
      throw new Error(`Cannot open an account: ${registered.status} ${JSON.stringify(registered.body)}`);
    }
    if (role !== 'customer') {
      const { status, body } = await this.call('PUT', `/v1/users/${userId}/roles`, this.root, { roles: [role] });
      if (status !== 200) throw new Error(`Cannot make somebody ${role}: ${status} ${JSON.stringify(body)}`);
    }
    const credentials = { username, password };
    const token = await this.signIn(credentials);
    return { ...actor(`${role} ${nth} (${username})`, role), token, credentials, userId };
  }

  private async signIn(credentials: { username: string; password: string }): Promise<string> {
    const { status, body } = await this.call('POST', '/v1/auth/token', undefined, credentials);
    if (status === 200) return body['access_token'] as string;
    throw new Error(`Cannot sign in as ${credentials.username}: ${status} ${JSON.stringify(body)}`);
  }
}

function actor(name: string, role: Role): Actor {
  return { name, role, etags: new Map(), history: [] };
}

/** Tokens that must not be taken; those that need the signing secret only if it is known. */
function forgeries(secret: string | undefined): Record<string, string> {
  const encode = (part: object | string) => Buffer.from(JSON.stringify(part)).toString('base64url');
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    roles: ['admin'],
    use: 'access',
    iat: now - 60,
    exp: now + 86_400,
    aud: 'orderloom-api',
    iss: 'orderloom',
    sub: '01980000-0000-7000-8000-000000000000',
    jti: '01980000-0000-7000-8000-000000000001',
  };
  const sign = (payload: object, key: string, header: object = { alg: 'HS256', typ: 'JWT' }) => {
    const text = `${encode(header)}.${encode(payload)}`;
    return `${text}.${createHmac('sha256', key).update(text).digest('base64url')}`;
  };
  return {
    'unsigned token': `${encode({ alg: 'none' })}.${encode(claims)}.`,
    'token of another key': sign(claims, 'a guess at the secret that is long enough'),
    ...(secret !== undefined && {
      'expired token': sign({ ...claims, exp: now - 1 }, secret),
      'token from the future': sign({ ...claims, nbf: now + 86_400 }, secret),
      'token for another audience': sign({ ...claims, aud: 'another' }, secret),
      'token of another use': sign({ ...claims, use: 'refresh' }, secret),
    }),
  };
}
