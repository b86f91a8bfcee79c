/** Work did not settle in time. It may still go on, and may have had its effect: the outcome is unknown. */
export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError';

  constructor(what: string, ms: number) {
    super(`${what} did not end within ${ms / 1000} s`);
  }
}

/** A timer that fires later than this, in ms, says that the process was stopped in between. */
const stoodStillMs = 1000;

/**
 * Waits for work that may never settle, for at most `ms`. A process that stood still heard no answer meanwhile, so the time
 * begins anew. @throws TimeLimitError, or what the work throws
 */
export async function within<T>(ms: number, what: string, work: () => PromiseLike<T> | T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    const begin = () => {
      const end = performance.now() + ms;
      timer = setTimeout(() => {
        if (performance.now() > end + stoodStillMs) begin();
        else reject(new TimeLimitError(what, ms));
      }, ms);
    };
    begin();
  });
  try {
    return await Promise.race([work(), limit]);
  } finally {
    clearTimeout(timer);
  }
}
