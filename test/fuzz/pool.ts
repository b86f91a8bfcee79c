import type { Json } from '../support/api';
import type { Dice } from './dice';
import { type ApiDocument, kindOfReference, type Operation, placesOf } from './document';
import { alsoKnownAs } from './knowledge';

/** Something that a response told of: an order, a product, a subscription. */
export interface Resource {
  /** What its paths need: `id`, or `subscription` and `position`. */
  readonly keys: Readonly<Record<string, string>>;
  /** Ids within it, such as those of its lines, by the member's name. */
  nested: ReadonlyMap<string, readonly string[]>;
  /** Of its latest known state. */
  /** What its ETag has between the quotes. */
  tag: string | undefined;
  /** As it was seen last; whether an operation is possible depends on it as a rule. */
  status: string | undefined;
  /** How requests ended that used it, by the place where they used it. */
  readonly uses: Map<string, Uses>;
}

interface Uses {
  ok: number;
  bad: number;
}

const everybody = '';
const keptInAll = 400;
const keptPerActor = 60;

/** What the responses of a run have told of, so that requests can refer to what exists. */
export class Pool {
  private readonly keysOf: ReadonlyMap<string, readonly string[]>;
  private readonly known = new Map<string, Resource>();
  private readonly lists = new Map<string, Resource[]>();
  private readonly cursors = new Map<string, string[]>();
  private readonly hidden = new Set<string>();
  /** How requests ended, by the place and the status of what they used there. */
  private readonly byStatus = new Map<string, Uses>();
  /** E-mail addresses in use. */
  readonly emails: string[] = [];

  constructor(document: ApiDocument) {
    this.keysOf = document.keys();
  }

  /** No request shall refer to it: the account that keeps the run going. */
  hide(text: string): void {
    this.hidden.add(text);
  }

  /** Prefers what was seen lately, by the actor itself, and of several what is most likely to work at this place. */
  pick(kind: string, dice: Dice, actor: string, place: string, recent = true): Resource | undefined {
    const known = alsoKnownAs[kind] ?? kind;
    const own = this.lists.get(`${actor} ${known}`) ?? [];
    const all = this.lists.get(`${everybody} ${known}`) ?? [];
    const list = own.length > 0 && dice.chance(0.9) ? own : all;
    if (list.length === 0) return undefined;
    const worth = ({ uses, status }: Resource) =>
      share(uses.get(place)) * share(this.byStatus.get(`${place} ${status}`));
    const some = Array.from({ length: 8 }, () => (recent ? dice.recent(list) : dice.pick(list)));
    return some.reduce((best, other) => (worth(other) > worth(best) ? other : best));
  }

  /** What became of a request that used it. */
  learn(resource: Resource, place: string, ok: boolean): void {
    count(resource.uses, place, ok);
    count(this.byStatus, `${place} ${resource.status}`, ok);
  }

  /** The value by which a member such as `productId` refers to a resource. */
  reference(kind: string, dice: Dice, actor: string, place: string): { value: string; resource: Resource } | undefined {
    // what is new is seldom ready to be referred to: a product has no stock yet
    const resource = this.pick(kind, dice, actor, place, false);
    const value = resource && Object.values(resource.keys)[0];
    return resource && value !== undefined ? { value, resource } : undefined;
  }

  cursor(operation: Operation, dice: Dice): string | undefined {
    const own = this.cursors.get(operation.id);
    const list = own && dice.chance(0.9) ? own : [...this.cursors.values()].flat();
    return list.length > 0 ? dice.pick(list) : undefined;
  }

  /** @param path values of the parameters in the operation's path */
  harvest(operation: Operation, actor: string, body: Json, etag: string | undefined): void {
    const next = body?.page?.next as unknown;
    if (typeof next === 'string') keep(this.cursors, operation.id, next, 20);
    const list: Json[] | undefined = Array.isArray(body) ? body : Array.isArray(body?.data) ? body.data : undefined;
    const places = placesOf(operation.path).toReversed();
    // an answer about one thing may name it after any part of the path, a list only after the last
    const last = /\}$/.test(operation.path) ? [] : places.slice(0, 1);
    for (const item of (list ?? [body]).slice(0, 100)) {
      const kind = (list && !Array.isArray(body) ? last : places)
        .map((place) => place.kind)
        .find((each) => this.keysOf.get(each)?.every((name) => isKey(item?.[name])));
      const version = item?.version as number | undefined;
      this.add(
        kind,
        actor,
        item,
        /^"(.+)"$/.exec(etag ?? '')?.[1] ?? (version === undefined ? undefined : String(version)),
      );
    }
  }

  private add(kind: string | undefined, actor: string, item: Json, tag: string | undefined): void {
    const nested = referencesIn(item);
    for (const [member, values] of nested) {
      const other = kindOfReference(member)!;
      const target = alsoKnownAs[other] ?? other;
      const [key] = this.keysOf.get(target) ?? [];
      if (key !== undefined && target !== kind)
        for (const value of values.slice(0, 5)) this.enlist(target, actor, { [key]: value });
    }
    if (typeof item?.email === 'string' && !this.hidden.has(item.email as string)) {
      this.emails.push(item.email as string);
      if (this.emails.length > 200) this.emails.shift();
    }
    if (kind === undefined) return;
    const keys = Object.fromEntries(this.keysOf.get(kind)!.map((name) => [name, String(item[name])]));
    const resource = this.enlist(kind, actor, keys);
    if (!resource) return;
    resource.nested = nested;
    resource.tag = tag ?? resource.tag;
    if (typeof item.status === 'string') resource.status = item.status as string;
  }

  private enlist(kind: string, actor: string, keys: Readonly<Record<string, string>>): Resource | undefined {
    const name = `${kind} ${Object.values(keys).join('/')}`;
    if (Object.values(keys).some((value) => this.hidden.has(value))) return undefined;
    let resource = this.known.get(name);
    if (!resource) {
      resource = { keys, nested: new Map(), tag: undefined, status: undefined, uses: new Map() };
      this.known.set(name, resource);
      if (this.known.size > 20_000) this.known.delete(this.known.keys().next().value!);
      keep(this.lists, `${everybody} ${kind}`, resource, keptInAll);
    }
    const own = this.lists.get(`${actor} ${kind}`);
    if (!own?.includes(resource)) keep(this.lists, `${actor} ${kind}`, resource, keptPerActor);
    return resource;
  }
}

function keep<T>(lists: Map<string, T[]>, name: string, value: T, most: number): void {
  const list = lists.get(name) ?? [];
  list.push(value);
  if (list.length > most) list.shift();
  lists.set(name, list);
}

function count(uses: Map<string, Uses>, name: string, ok: boolean): void {
  const known = uses.get(name) ?? { ok: 0, bad: 0 };
  if (ok) known.ok++;
  else known.bad++;
  uses.set(name, known);
}

/** Of those that worked; a half when nothing is known. */
function share({ ok, bad }: Uses = { ok: 0, bad: 0 }): number {
  return (ok + 1) / (ok + bad + 2);
}

function isKey(value: unknown): boolean {
  return typeof value === 'string' || typeof value === 'number';
}

/** Values of all members that are called `…Id`, in a body of which only the beginning is looked at. */
function referencesIn(body: Json): Map<string, string[]> {
  const found = new Map<string, string[]>();
  let left = 500;
  const walk = (value: Json): void => {
    if (typeof value !== 'object' || value === null || left-- < 0) return;
    for (const [member, each] of Object.entries(value as Record<string, Json>)) {
      if (typeof each === 'string' && kindOfReference(member)) keep(found, member, each, 20);
      else walk(each);
    }
  };
  walk(body);
  return found;
}
