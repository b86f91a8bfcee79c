import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { EntityManager } from 'typeorm';
import { currentContext } from '../context';
import { Database } from '../database/database';
import { DomainError } from '../domain-error';
import { erased, type Sealed } from './sealed';

const keyBytes = 32;
const nonceBytes = 12;
const tagBytes = 16;

/**
 * Keeps what is said about people out of events, which are for ever: it enters them sealed under a key of that
 * person, and erasing the person destroys the key. Views, sagas and snapshots hold it sealed as well. It is opened where
 * it is needed, and by the gateway in whatever it answers.
 */
@Injectable()
export class PersonalData {
  constructor(private readonly database: Database) {}

  /**
   * Under the key of `person`, a uuid, which is made at the first call. A decider can compare what is sealed: equal
   * values of one person are equal.
   *
   * @throws DomainError `person-erased` (conflict)
   */
  async seal<T extends object>(person: string, value: T): Promise<Sealed<T>> {
    const key = (await this.keys([person])).get(person) ?? (await this.makeKey(person));
    const members = Object.entries(value as Record<string, unknown>).filter(([, member]) => member !== undefined);
    const text = JSON.stringify(Object.fromEntries(members.sort(([a], [b]) => (a < b ? -1 : 1))));
    // A synthetic nonce: it repeats with the text that it was made of, and never with another.
    const nonce = createHmac('sha256', key.nonces).update(text).digest().subarray(0, nonceBytes);
    const cipher = createCipheriv('aes-256-gcm', key.texts, nonce).setAAD(Buffer.from(person));
    const encrypted = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()]);
    const sealed = Buffer.concat([nonce, cipher.getAuthTag(), encrypted]).toString('base64url');
    return { person, sealed, members: members.map(([name]) => name as keyof T & string) };
  }

  /** As {@link seal}, of a value whose names of members may be personal as well: nothing is shown of it once it is erased. */
  async sealWhole<T extends object>(person: string, value: T): Promise<Sealed<T>> {
    return { ...(await this.seal(person, value)), members: [] };
  }

  /** Undefined when the person has been erased. */
  async open<T extends object>(value: Sealed<T>): Promise<T | undefined> {
    // recorded before there were seals
    if (!isSealed(value)) return value as T;
    const key = (await this.keys([value.person])).get(value.person);
    return key && (decrypt(key, value) as T);
  }

  /** The same answer with all in it that is sealed opened, or `[erased]`. */
  async reveal(answer: unknown): Promise<unknown> {
    const people = new Set<string>();
    collect(answer, people);
    if (people.size === 0) return answer;
    const keys = await this.keys([...people]);
    return replace(answer, (value) => {
      const key = keys.get(value.person);
      return key ? decrypt(key, value) : Object.fromEntries(value.members.map((name) => [name, erased]));
    });
  }

  /** Destroys the person's key for good, in one transaction with what `manager` changes besides. */
  async erase(person: string, manager: EntityManager): Promise<void> {
    await manager.query(
      `insert into personal_data.keys as k (person, key, erased_at, erased_by) values ($1, null, clock_timestamp(), $2)
       on conflict (person) do update
         set key = null, erased_at = excluded.erased_at, erased_by = excluded.erased_by where k.key is not null`,
      [person, currentContext().actor],
    );
  }

  private async keys(people: readonly string[]): Promise<Map<string, Key>> {
    const { rows } = await this.database.pool.query<{ person: string; key: Buffer }>({
      name: 'personal_data.keys',
      text: 'select person, key from personal_data.keys where person = any($1::uuid[]) and key is not null',
      values: [people],
    });
    return new Map(rows.map(({ person, key }) => [person, keyOf(key)]));
  }

  /** On the disk before anything is sealed with it. Of several that make one at once, one wins. */
  private async makeKey(person: string): Promise<Key> {
    await this.database.pool.query(
      'insert into personal_data.keys (person, key) values ($1, $2) on conflict do nothing',
      [person, randomBytes(2 * keyBytes)],
    );
    const key = (await this.keys([person])).get(person);
    if (key) return key;
    throw new DomainError('conflict', 'person-erased', 'This person has been erased: nothing is recorded about them.');
  }
}

interface Key {
  readonly texts: Buffer;
  readonly nonces: Buffer;
}

const keyOf = (bytes: Buffer): Key => ({ texts: bytes.subarray(0, keyBytes), nonces: bytes.subarray(keyBytes) });

function decrypt(key: Key, { person, sealed }: Sealed<object>): object {
  const bytes = Buffer.from(sealed, 'base64url');
  const decipher = createDecipheriv('aes-256-gcm', key.texts, bytes.subarray(0, nonceBytes))
    .setAAD(Buffer.from(person))
    .setAuthTag(bytes.subarray(nonceBytes, nonceBytes + tagBytes));
  const text = decipher.update(bytes.subarray(nonceBytes + tagBytes), undefined, 'utf8') + decipher.final('utf8');
  return JSON.parse(text) as object;
}

function isSealed(value: object): value is Sealed<object> {
  const { person, sealed, members } = value as Partial<Sealed<object>>;
  return typeof sealed === 'string' && typeof person === 'string' && Array.isArray(members);
}

/** Arrays and plain objects; a Date and the like is left alone. */
function isContainer(value: unknown): value is object {
  if (typeof value !== 'object' || value === null) return false;
  return Array.isArray(value) || !(value instanceof Date || Buffer.isBuffer(value));
}

function collect(value: unknown, people: Set<string>): void {
  if (!isContainer(value)) return;
  if (isSealed(value)) people.add(value.person);
  else for (const member of Object.values(value)) collect(member, people);
}

function replace(value: unknown, reveal: (sealed: Sealed<object>) => object): unknown {
  if (!isContainer(value)) return value;
  if (isSealed(value)) return reveal(value);
  if (Array.isArray(value)) return value.map((member) => replace(member, reveal));
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, replace(member, reveal)]));
}
