import type { Json } from '../support/api';
import type { Actor } from './actors';
import type { Operation } from './document';
import type { Resource } from './pool';

/** JSON text that no value of JavaScript has: 1e400, a member twice, 100,000 brackets. */
export class Raw {
  constructor(readonly text: string) {}
}

/** A request on its way to the wire, which mutations still change. */
export interface Draft {
  readonly nth: number;
  readonly operation: Operation;
  readonly actor: Actor;
  method: string;
  /** As it is sent: encoded, or meant not to be. */
  path: string;
  /** Names and values as they are sent, encoded or meant not to be. */
  query: [string, string][];
  headers: [string, string][];
  contentType: string | undefined;
  /** Members of a form, or JSON; undefined for no body. */
  body: Json;
  /** Instead of `body`: as it stands. */
  bytes: Buffer | undefined;
  /** Changes the bytes of the whole request. */
  distort: ((request: Buffer) => Buffer) | undefined;
  /** The client goes away before it has an answer. */
  abort: boolean;
  /** Whether the address is still that of the operation. */
  routed: boolean;
  /** Whether the authorization is still the actor's own. */
  authentic: boolean;
  /** What was done to it; empty for a valid request. */
  readonly mutations: string[];
  readonly used: { resource: Resource; place: string }[];
}

/** A request as it goes out. */
export interface Sent {
  readonly draft: Draft;
  readonly bytes: Buffer;
  readonly body: Buffer | undefined;
}

export function header(draft: Draft, name: string): string | undefined {
  return draft.headers.find(([each]) => each.toLowerCase() === name.toLowerCase())?.[1];
}

export function setHeader(draft: Draft, name: string, value: string | undefined): void {
  draft.headers = draft.headers.filter(([each]) => each.toLowerCase() !== name.toLowerCase());
  if (value !== undefined) draft.headers.push([name, value]);
}

/** The bytes of a request; header values are taken as Latin-1, so that they may hold any byte. */
export function encode(draft: Draft, host: string): Sent {
  const body = bodyOf(draft);
  const query = draft.query.map(([name, value]) => `${name}=${value}`).join('&');
  const target = query === '' ? draft.path : `${draft.path}?${query}`;
  const named = (name: string) => header(draft, name) !== undefined;
  const lines = [
    `${draft.method} ${target} HTTP/1.1`,
    ...(named('host') ? [] : [`Host: ${host}`]),
    ...draft.headers.map(([name, value]) => `${name}: ${value}`),
    ...(body && draft.contentType !== undefined ? [`Content-Type: ${draft.contentType}`] : []),
    ...(body && !named('content-length') && !named('transfer-encoding') ? [`Content-Length: ${body.length}`] : []),
  ];
  // without a length, the server takes a request that may have a body for one that has none
  const head = Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
  const bytes = body ? Buffer.concat([head, body]) : head;
  return { draft, body, bytes: draft.distort?.(bytes) ?? bytes };
}

function bodyOf({ bytes, body, contentType }: Draft): Buffer | undefined {
  if (bytes) return bytes;
  if (body === undefined) return undefined;
  return Buffer.from(/urlencoded/.test(contentType ?? '') ? form(body) : json(body));
}

function form(body: Json): string {
  const text = (value: Json) => (value instanceof Raw ? value.text : typeof value === 'string' ? value : json(value));
  return Object.entries(body as Record<string, Json>)
    .map(([name, value]) => `${encodeURIComponent(well(name))}=${encodeURIComponent(well(text(value)))}`)
    .join('&');
}

/** `encodeURIComponent` throws for half a character. */
function well(text: string): string {
  return Buffer.from(text).toString();
}

export function json(body: Json): string {
  const raw: string[] = [];
  const text = JSON.stringify(body, (_, value: unknown) =>
    value instanceof Raw ? `@@raw ${raw.push(value.text) - 1}@@` : value,
  );
  return raw.length === 0 ? text : text.replace(/"@@raw (\d+)@@"/g, (_, nth: string) => raw[Number(nth)]!);
}
