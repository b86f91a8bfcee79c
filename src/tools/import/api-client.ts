import { setTimeout as delay } from 'node:timers/promises';
import { exchange, type Reply } from './exchange';
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
  readonly patienceMs: number;
  readonly retryAfterMs?: number;
}

interface Tokens {
  readonly access: string;
  /** Gets the next ones without the password. */
  readonly refresh?: string;
}

/** Longer than the longest wait that is asked for (`Prefer: wait`). */
const requestTimeoutMs = 30_000;
const busy = new Set([429, 502, 503, 504]);
/** How long one request waits for a server that is gone or busy. */
const gonePatienceMs = 120_000;
/** How long for an earlier request of the same key: the server gives one that died with its process up after 15 s. */
const inProgressPatienceMs = 60_000;

/**
 * The REST API as any client sees it. A request whose answer is lost is sent again: all of them are safe to repeat,
 * a GET by nature and a POST by its Idempotency-Key.
 */
export class ApiClient {
  private readonly url: string;
  private tokens: Promise<Tokens> | undefined;
  private reached = false;
  private waiting = 0;

  constructor(private readonly options: ApiClientOptions) {
    this.url = options.url.replace(/\/+$/, '');
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
    const used = (this.tokens ??= this.signIn());
    const tokens = await used;
    try {
      return await this.persist<T>(authorized(request, tokens));
    } catch (error) {
      if (!(error instanceof Refusal) || error.status !== 401) throw error;
      // it has expired; whoever notices first gets the next one for all
      if (this.tokens === used) this.tokens = this.renew(tokens);
      return this.persist<T>(authorized(request, await this.tokens));
    }
  }

  /** @throws ImportError when nobody answers, the answer makes no sense, or the password is wrong */
  private async signIn(): Promise<Tokens> {
    const { email: username, password } = this.options;
    try {
      return await this.requestTokens('/v1/auth/token', { username, password });
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      if (error.code !== 'wrong-credentials') throw this.notOrderloom();
      throw new ImportError(
        `The password of ${username} is wrong, or there is no such account: give --email and --password, or ADMIN_EMAIL and ADMIN_PASSWORD.`,
      );
    }
  }

  /** By the refresh token, or by the password when the session has ended. */
  private async renew({ refresh }: Tokens): Promise<Tokens> {
    if (refresh === undefined) return this.signIn();
    try {
      return await this.requestTokens('/v1/auth/refresh', { refresh_token: refresh });
    } catch (error) {
      if (error instanceof Refusal) return this.signIn();
      throw error;
    }
  }

  private async requestTokens(path: string, body: object): Promise<Tokens> {
    const { body: tokens } = await this.persist<{ access_token?: unknown; refresh_token?: string }>({
      method: 'POST',
      path,
      body,
    });
    if (typeof tokens.access_token !== 'string') throw this.notOrderloom();
    return { access: tokens.access_token, refresh: tokens.refresh_token };
  }

  private notOrderloom(): ImportError {
    return new ImportError(`What answers at ${this.url} is not Orderloom: check --url.`);
  }

  /** Sends a request until it is answered. */
  private async persist<T>(request: Request): Promise<Answer<T>> {
    let last: string | undefined;
    let since = 0;
    try {
      for (let attempt = 0; ; attempt++) {
        const outcome = await this.attempt<T>(request);
        if ('answer' in outcome) return outcome.answer;
        const { trouble, patienceMs, retryAfterMs } = outcome;
        if (last === undefined) this.waiting += 1;
        if (trouble !== last) since = performance.now();
        last = trouble;
        if (performance.now() - since > patienceMs) {
          throw new ImportError(
            `For ${patienceMs / 1000} s now ${trouble}: put that right and run the same command again, it goes on where it was.`,
          );
        }
        this.options.onWaiting?.(`${trouble}, waiting`);
        await this.pause(retryAfterMs ?? Math.min(250 * 2 ** Math.min(attempt, 3), 2000));
      }
    } finally {
      if (last !== undefined) this.waiting -= 1;
      if (last !== undefined && this.waiting === 0) this.options.onWaiting?.(undefined);
    }
  }

  private async attempt<T>({ method, path, headers, body }: Request): Promise<{ answer: Answer<T> } | Trouble> {
    const json = body === undefined ? undefined : JSON.stringify(body);
    const type: Record<string, string> = json === undefined ? {} : { 'Content-Type': 'application/json' };
    let reply: Reply;
    try {
      const url = new URL(this.url + path);
      reply = await exchange(url, {
        method,
        headers: { ...headers, ...type },
        body: json,
        timeoutMs: requestTimeoutMs,
      });
    } catch (error) {
      if (!this.reached) {
        const { code, message } = error as NodeJS.ErrnoException;
        throw new ImportError(
          `Nobody answers at ${this.url} (${code ?? message}): start the app there, or say with --url where it is.`,
        );
      }
      return { trouble: 'the server is gone', patienceMs: gonePatienceMs };
    }
    this.reached = true;

    const { status } = reply;
    const answer = parseJson(reply.text);
    if (status < 300 && answer !== undefined) {
      return { answer: { body: answer as T, replayed: reply.headers['idempotent-replayed'] === 'true' } };
    }
    const { code = 'unknown', detail = `${method} ${path} was answered with ${status}.` } = problemOf(answer);
    const seconds = Number(reply.headers['retry-after'] ?? NaN);
    const retryAfterMs = Number.isFinite(seconds) ? Math.min(seconds, 60) * 1000 : undefined;
    if (code === 'request-in-progress') {
      return { trouble: 'an earlier request is still being worked on', patienceMs: inProgressPatienceMs, retryAfterMs };
    }
    if (busy.has(status)) return { trouble: 'the server is busy', patienceMs: gonePatienceMs, retryAfterMs };
    throw new Refusal(status, code, describe(status, detail, problemOf(answer)));
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

function authorized(request: Request, { access }: Tokens): Request {
  return { ...request, headers: { ...request.headers, Authorization: `Bearer ${access}` } };
}

interface ProblemDetails {
  readonly code?: string;
  readonly detail?: string;
  readonly traceId?: string;
  readonly errors?: readonly { readonly pointer: string; readonly message: string }[];
}

function problemOf(answer: unknown): ProblemDetails {
  return typeof answer === 'object' && answer !== null ? answer : {};
}

/** With what is wrong with which member, or the id to find it in the server's log by, where the server says so. */
function describe(status: number, detail: string, { errors = [], traceId }: ProblemDetails): string {
  const where = errors.slice(0, 3).map(({ pointer, message }) => `${pointer}: ${message}`);
  const trace = status >= 500 && traceId ? [`traceId ${traceId}`] : [];
  return [detail, ...where, ...trace].join(' ');
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}
