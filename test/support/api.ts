import { randomUUID } from 'node:crypto';

/** JSON of whatever shape: what the tests assert of it is their business. */
export type Json = ReturnType<typeof JSON.parse>;

export interface Answer<T = Json> {
  readonly status: number;
  readonly headers: Headers;
  readonly body: T;
}

type Headings = Record<string, string>;

/** A client as any other: real HTTP. Every POST gets an Idempotency-Key unless it brings its own. */
export class Api {
  constructor(
    readonly url: string,
    readonly token?: string,
  ) {}

  static async signIn(url: string, username: string, password: string): Promise<Api> {
    const { status, body } = await new Api(url).post('/v1/auth/token', { grant_type: 'password', username, password });
    if (status !== 200) throw new Error(`Cannot sign in as ${username}: ${JSON.stringify(body)}`);
    return new Api(url, body['access_token'] as string);
  }

  get(path: string, headers?: Headings): Promise<Answer> {
    return this.send('GET', path, undefined, headers);
  }

  post(path: string, body: unknown = {}, headers?: Headings): Promise<Answer> {
    return this.send('POST', path, body, { 'idempotency-key': randomUUID(), ...headers });
  }

  put(path: string, body: unknown, headers?: Headings): Promise<Answer> {
    return this.send('PUT', path, body, headers);
  }

  patch(path: string, body: unknown, headers?: Headings): Promise<Answer> {
    return this.send('PATCH', path, body, headers);
  }

  delete(path: string, body?: unknown, headers?: Headings): Promise<Answer> {
    return this.send('DELETE', path, body, headers);
  }

  /** Every row of a list, page by page. */
  async all(path: string): Promise<Json[]> {
    const rows: Json[] = [];
    for (let after: string | null = ''; after !== null;) {
      const separator = path.includes('?') ? '&' : '?';
      const { body } = await this.get(`${path}${separator}limit=100${after && `&after=${after}`}`);
      rows.push(...(body['data'] as Json[]));
      after = body['page'].next as string | null;
    }
    return rows;
  }

  private async send(method: string, path: string, body: unknown, headers: Headings = {}): Promise<Answer> {
    const response = await fetch(this.url + path, {
      method,
      headers: {
        ...(this.token && { authorization: `Bearer ${this.token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await response.text();
    return {
      status: response.status,
      headers: response.headers,
      body: /json/.test(response.headers.get('content-type') ?? '') ? JSON.parse(text) : text ? { text } : {},
    };
  }
}
