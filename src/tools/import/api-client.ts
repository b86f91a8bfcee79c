import { setTimeout as delay } from 'node:timers/promises';
import { ImportError } from './import-error';

export interface ApiClientOptions {
  readonly url: string;
  readonly email: string;
  readonly password: string;
  /** Ends waiting for a server that is gone or busy; what is being answered is still awaited. */
  readonly signal?: AbortSignal;
  /** Told why requests wait, and `undefined` when they go on. */
  readonly onWaiting?: (why: string | undefined) => void;
}

/** The server understood and said no: RFC 9457. */
export class Refusal extends Error {
  override readonly name = 'Refusal';

  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
  ) {
    super(detail);
  }
}

export interface Answer<T> {
  readonly body: T;
  /** An earlier request with this Idempotency-Key was answered so: things may have moved on since. */
  readonly replayed: boolean;
}

interface Request {
  readonly method: 'GET' | 'POST';
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
}

/** Why a request has to be sent again, for how long that is worth it, and when the server wants to see it. */
interface Trouble {
  readonly trouble: string;
  readonly patience: number;
  readonly retryAfterMs?: number;
}

/** Longer than the longest wait that is asked for (`Prefer: wait`). */
const requestTimeoutMs = 30_000;
/** How long one request waits for a server that is gone or busy. */
const patienceMs = 120_000;
/** How long for an earlier request of the same key: the server gives one that died with its process up after 15 s. */
const inProgressPatienceMs = 60_000;

/**
 * The REST API as any client sees it. A request whose answer is lost is sent again: all of them are safe to repeat,
 * a GET by nature and a POST by its Idempotency-Key.
 */
export class ApiClient {
  private readonly url: string;
  private token: Promise<string> | undefined;
  private reached = false;
  private waiting = 0;

  constructor(private readonly options: ApiClientOptions) {
    this.url = options.url.replace(/\/+$/, '');
  }

  /** @throws ImportError when nobody answers, the answer makes no sense, or the password is wrong */
  async signIn(): Promise<void> {
    await (this.token ??= this.fetchToken());
  }

  /** @throws Refusal, ImportError */
  async get<T>(path: string): Promise<T> {
    return (await this.send<T>({ method: 'GET', path })).body;
  }

  /** @throws Refusal, ImportError */
  post<T>(path: string, key: string, body?: unknown, headers: Record<string, string> = {}): Promise<Answer<T>> {
    return this.send<T>({ method: 'POST', path, body, headers: { ...headers, 'Idempotency-Key': key } });
  }

  /** Everything in a list, page by page. */
  async *list<T>(path: string): AsyncGenerator<T> {
    const more = path.includes('?') ? '&' : '?';
    for (let after = ''; ;) {
      const { data, page } = await this.get<{ data: T[]; page: { next: string | null } }>(
        `${path}${more}limit=100${after}`,
      );
      yield* data;
      if (page.next === null) return;
      after = `&after=${encodeURIComponent(page.next)}`;
    }
  }

  private async send<T>(request: Request): Promise<Answer<T>> {
    await this.signIn();
    const used = this.token!;
    try {
      return await this.persist<T>({
        ...request,
        headers: { ...request.headers, Authorization: `Bearer ${await used}` },
      });
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401) throw error;
      // it has expired; whoever notices first gets the next one for all
      if (this.token === used) this.token = undefined;
      await this.signIn();
      return this.persist<T>({
        ...request,
        headers: { ...request.headers, Authorization: `Bearer ${await this.token!}` },
      });
    }
  }

  private async fetchToken(): Promise<string> {
    const { email: username, password } = this.options;
    try {
      const { body } = await this.persist<{ access_token?: unknown }>({
        method: 'POST',
        path: '/v1/auth/token',
        body: { username, password },
      });
      if (typeof body.access_token === 'string') return body.access_token;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code === 'wrong-credentials') {
        throw new ImportError(
          `The password of ${username} is wrong, or there is no such account: give --email and --password, or ADMIN_EMAIL and ADMIN_PASSWORD.`,
        );
      }
    }
    throw new ImportError(`What answers at ${this.url} is not Orderloom: check --url.`);
  }

  /** Sends a request until it is answered. */
  private async persist<T>(request: Request): Promise<Answer<T>> {
    const begun = performance.now();
    let announced = false;
    try {
      for (let attempt = 0; ; attempt++) {
        const outcome = await this.attempt<T>(request);
        if ('answer' in outcome) return outcome.answer;
        const { trouble, patience, retryAfterMs } = outcome;
        if (performance.now() - begun > patience) {
          throw new ImportError(
            `${trouble}, for ${Math.round(patience / 1000)} s now: put that right and run the same command again, it goes on where it was.`,
          );
        }
        if (!announced) this.waiting += 1;
        announced = true;
        this.options.onWaiting?.(`${trouble}, waiting`);
        await this.pause(retryAfterMs ?? Math.min(250 * 2 ** Math.min(attempt, 3), 2000));
      }
    } finally {
      if (announced) this.waiting -= 1;
      if (announced && this.waiting === 0) this.options.onWaiting?.(undefined);
    }
  }

  private async attempt<T>({ method, path, headers, body }: Request): Promise<{ answer: Answer<T> } | Trouble> {
    let response: Response;
    let text: string;
    try {
      response = await fetch(this.url + path, {
        method,
        headers: { ...headers, ...(body === undefined ? {} : { 'Content-Type': 'application/json' }) },
        body: body === undefined ? undefined : JSON.stringify(body),
        signal: AbortSignal.timeout(requestTimeoutMs),
      });
      text = await response.text();
    } catch (error) {
      if (!this.reached) {
        throw new ImportError(
          `Nobody answers at ${this.url} (${causeOf(error)}): start the app there, or say with --url where it is.`,
        );
      }
      return { trouble: 'the server is gone', patience: patienceMs };
    }
    this.reached = true;

    const { status } = response;
    const json = parseJson(text);
    if (response.ok && json !== undefined) {
      return { answer: { body: json as T, replayed: response.headers.get('idempotent-replayed') === 'true' } };
    }
    const { code = 'unknown', detail = `${method} ${path} was answered with ${status}` } = (json ?? {}) as Record<
      string,
      string
    >;
    const seconds = Number(response.headers.get('retry-after') ?? NaN);
    const retryAfterMs = Number.isFinite(seconds) ? Math.min(seconds, 60) * 1000 : undefined;
    if (code === 'request-in-progress') {
      return { trouble: 'an earlier request is still being worked on', patience: inProgressPatienceMs, retryAfterMs };
    }
    if ([429, 502, 503, 504].includes(status))
      return { trouble: 'the server is busy', patience: patienceMs, retryAfterMs };
    throw new Refusal(status, code, describe(detail, json));
  }

  private async pause(ms: number): Promise<void> {
    try {
      await delay(ms, undefined, { signal: this.options.signal });
    } catch {
      throw new ImportError(
        'Stopped while waiting for the server: run the same command again, it goes on where it was.',
      );
    }
  }
}

/** With what is wrong with which member, where the server says so. */
function describe(detail: string, json: unknown): string {
  const { errors, traceId, status } = (json ?? {}) as {
    errors?: { pointer: string; message: string }[];
    traceId?: string;
    status?: number;
  };
  const where = (errors ?? []).slice(0, 3).map(({ pointer, message }) => `${pointer}: ${message}`);
  const trace = status !== undefined && status >= 500 && traceId ? ` (traceId ${traceId})` : '';
  return where.length > 0 ? `${detail} ${where.join('; ')}` : detail + trace;
}

function causeOf(error: unknown): string {
  const { name, cause } = error as { name: string; cause?: { code?: string; message?: string } };
  return cause?.code ?? cause?.message ?? name;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
