import { Dice } from './dice';
import type { Actor, Actors, Role } from './actors';
import { type Draft, header, setHeader } from './draft';
import type { ApiDocument, Operation } from './document';
import { codes, contradicts, needs, weights } from './knowledge';
import { type Mutation, mutations } from './mutations';
import { placesOf } from './document';
import type { Pool } from './pool';
import { valid, type Choices } from './values';

const sentBefore = 60;

/** Makes requests: mostly valid ones, some with one thing wrong, few with several. */
export class Composer {
  /** Requests with an Idempotency-Key, to be repeated. */
  private readonly repeatable: Draft[] = [];
  /** By operation and role: how often it answered 2xx, and 403. */
  private readonly allowed = new Map<string, { yes: number; no: number }>();
  /** Mutations that are left out from now on, since they have shown what they had to show. */
  readonly retired = new Set<string>();

  constructor(
    private readonly seed: number,
    private readonly document: ApiDocument,
    private readonly pool: Pool,
    private readonly actors: Actors,
  ) {}

  /** @param hostile whether something has to be wrong with it */
  compose(nth: number, hostile = false): Draft {
    const dice = Dice.of(this.seed, nth);
    const kind = hostile ? 0.6 + dice.integer(0, 39) / 100 : dice.integer(0, 99) / 100;
    if (kind < 0.04 && this.repeatable.length > 0) return this.again(nth, dice);
    const operation = dice.weighted(this.document.operations, ({ id }) => weights[id] ?? 1);
    const actor = this.actors.choose(dice, (role) => this.weightOf(operation, role));
    const draft = this.valid(nth, operation, actor, dice);
    const wrong = kind < 0.6 ? 0 : kind < 0.93 ? 1 : dice.integer(2, 5);
    const choices = this.choices(draft, dice);
    for (let count = 0; count < wrong; count++) this.mutate(draft, choices);
    if (wrong === 0 && header(draft, 'idempotency-key') !== undefined) this.remember(draft);
    return draft;
  }

  /** What became of a request, so that the next ones may get further. */
  learn({ operation, actor, used, mutations }: Draft, status: number): void {
    const name = `${operation.id} ${actor.role}`;
    const counts = this.allowed.get(name) ?? { yes: 0, no: 0 };
    if (status < 300) counts.yes++;
    if (status === 403) counts.no++;
    this.allowed.set(name, counts);
    if (mutations.length > 0) return;
    for (const { resource, place } of used) {
      if (![401, 412, 429, 503].includes(status)) this.pool.learn(resource, place, status < 300);
    }
  }

  /** As it was, but for a new key: what takes long shall do so again. */
  afresh(draft: Draft): Draft {
    const again = { ...draft, headers: draft.headers.map(([name, value]): [string, string] => [name, value]) };
    if (header(draft, 'idempotency-key') !== undefined && !draft.mutations.includes('another Idempotency-Key')) {
      setHeader(again, 'Idempotency-Key', `again-${draft.nth}-${Date.now()}`);
    }
    if (draft.authentic && draft.actor.role !== 'forged' && draft.actor.token) {
      setHeader(again, 'Authorization', `Bearer ${draft.actor.token}`);
    }
    return again;
  }

  /** Who was never allowed to is seldom asked again. */
  private weightOf(operation: Operation, role: Role): number {
    const { yes, no } = this.allowed.get(`${operation.id} ${role}`) ?? { yes: 0, no: 0 };
    if (yes === 0 && no >= 2) return 0.04;
    return operation.secured || role !== 'anonymous' ? 1 : 4;
  }

  private choices(draft: Draft, dice: Dice): Choices {
    const fullness = dice.pick([0.1, 0.3, 0.5, 0.95]);
    return { dice, document: this.document, pool: this.pool, actor: draft.actor.name, fullness, used: draft.used };
  }

  private valid(nth: number, operation: Operation, actor: Actor, dice: Dice): Draft {
    const draft: Draft = {
      nth,
      operation,
      actor,
      method: operation.method,
      path: operation.path,
      query: [],
      headers: [],
      contentType: undefined,
      body: undefined,
      bytes: undefined,
      distort: undefined,
      abort: false,
      routed: true,
      authentic: true,
      mutations: [],
      used: [],
    };
    const choices = this.choices(draft, dice);
    this.fillPath(draft, choices);
    for (const { name, schema, required, in: place } of operation.parameters) {
      if (place === 'query' && (required || dice.chance(0.25))) {
        const value =
          name === 'after' && schema['type'] === 'string'
            ? this.pool.cursor(operation, dice)
            : String(valid(schema, name, choices));
        if (value !== undefined) draft.query.push([name, encodeURIComponent(value)]);
      }
    }
    const has = (name: string | undefined) => draft.query.some(([other]) => other === name);
    draft.query = draft.query.filter(([name]) => !has(contradicts[name]));
    const missing = new Set(draft.query.map(([name]) => needs[name]).filter((name) => name && !has(name)));
    for (const name of missing) draft.query.push([name!, dice.pick(codes[name!]!)]);
    if (actor.token) draft.headers.push(['Authorization', `Bearer ${actor.token}`]);
    this.addConditions(draft, dice);
    const types = [...operation.bodies];
    if (types.length > 0) {
      const [type, schema] = dice.pick(types);
      draft.contentType = type;
      const { examples } = operation;
      const asExample = examples.length > 0 && dice.chance(0.3);
      draft.body = asExample ? structuredClone(dice.pick(examples)) : valid(schema, 'body', choices);
      this.signIn(draft, dice);
    }
    return draft;
  }

  private fillPath(draft: Draft, choices: Choices): void {
    const { dice, pool, actor, used } = choices;
    const values: Record<string, string> = {};
    let within: ReadonlyMap<string, readonly string[]> = new Map();
    for (const { kind, names } of placesOf(draft.operation.path)) {
      if (names.length === 0) continue;
      const [first] = names;
      const nested = within.get(first!);
      if (nested && nested.length > 0 && dice.chance(0.9)) {
        values[first!] = dice.recent(nested);
        continue;
      }
      const resource = dice.chance(0.97) ? pool.pick(kind, dice, actor, draft.operation.id) : undefined;
      if (resource) {
        used.push({ resource, place: draft.operation.id });
        within = resource.nested;
      }
      for (const name of names) values[name] = resource?.keys[name] ?? '';
    }
    for (const { name, schema, in: place } of draft.operation.parameters) {
      if (place !== 'path' || values[name]) continue;
      const guess = schema['type'] === 'string' && !/id$/i.test(name) ? 'x' : dice.uuid();
      values[name] = schema['type'] === 'string' ? guess : String(valid(schema, name, choices));
    }
    draft.path = draft.operation.path.replace(/\{(\w+)\}/g, (_, name: string) =>
      encodeURIComponent(values[name] ?? 'x'),
    );
  }

  private addConditions(draft: Draft, dice: Dice): void {
    const { operation, actor } = draft;
    const headers = operation.parameters.filter((parameter) => parameter.in === 'header');
    const documents = (name: string) => headers.find((parameter) => parameter.name.toLowerCase() === name);
    const ifMatch = documents('if-match');
    if (ifMatch && (ifMatch.required || dice.chance(0.3))) {
      const tag = draft.used.at(-1)?.resource.tag;
      const known = tag === undefined ? actor.etags.get(draft.path) : `"${tag}"`;
      const stale = dice.chance(0.08) ? '"1"' : undefined;
      setHeader(draft, 'If-Match', stale ?? known ?? '"1"');
    }
    const key = documents('idempotency-key');
    if (key?.required || (operation.method === 'POST' && dice.chance(0.3))) {
      setHeader(draft, 'Idempotency-Key', `fuzz-${draft.nth}-${dice.text(8)}`);
    }
    if (documents('prefer') && dice.chance(0.04)) setHeader(draft, 'Prefer', `wait=${dice.integer(1, 2)}`);
  }

  /** A sign-in is by an account that there is, as a rule. */
  private signIn({ operation, body }: Draft, dice: Dice): void {
    if (!operation.bodies.size || typeof body?.username !== 'string' || typeof body?.password !== 'string') return;
    const known = this.actors.all.flatMap(({ credentials }) => credentials ?? []);
    if (known.length > 0 && dice.chance(0.85)) Object.assign(body as object, dice.pick(known));
  }

  private mutate(draft: Draft, choices: Choices): void {
    const heavy = draft.mutations.some((name) => mutations.find((each) => each.name === name)?.heavy);
    const settled = draft.bytes !== undefined || draft.distort !== undefined;
    const fitting = mutations.filter(
      (mutation) =>
        !this.retired.has(mutation.name) &&
        !draft.mutations.includes(mutation.name) &&
        !(heavy && mutation.heavy) &&
        // the body stands as it is
        !(settled && mutation.fits) &&
        (mutation.fits?.(draft) ?? true),
    );
    const mutation: Mutation = choices.dice.weighted(fitting, ({ share }) => share);
    mutation.apply(draft, choices);
    draft.mutations.push(mutation.name);
  }

  private remember(draft: Draft): void {
    this.repeatable.push(structuredCloneOf(draft));
    if (this.repeatable.length > sentBefore) this.repeatable.shift();
  }

  /** A request that was sent before: as it was, with another body, or by somebody else. */
  private again(nth: number, dice: Dice): Draft {
    const before = dice.recent(this.repeatable);
    const draft: Draft = { ...structuredCloneOf(before), nth };
    const how = dice.integer(1, 4);
    if (how === 3) {
      draft.mutations.push('its key with another body');
      draft.body = { ...(draft.body as object), reason: dice.text(5) };
    }
    if (how === 4) {
      const other = this.actors.choose(dice, () => 1);
      draft.mutations.push('its key by somebody else');
      setHeader(draft, 'Authorization', other.token && `Bearer ${other.token}`);
      return { ...draft, actor: other };
    }
    return draft;
  }
}

function structuredCloneOf(draft: Draft): Draft {
  return {
    ...draft,
    headers: draft.headers.map(([name, value]): [string, string] => [name, value]),
    body: draft.body === undefined ? undefined : (JSON.parse(JSON.stringify(draft.body)) as unknown),
    mutations: [...draft.mutations],
    used: [],
  };
}
