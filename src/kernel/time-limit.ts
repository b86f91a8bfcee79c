/** Work did not settle in time. It may still go on, and may have had its effect: the outcome is unknown. */
export class TimeLimitError extends Error {
  override readonly name = 'TimeLimitError';

  constructor(what: string, ms: number) {
    super(`${what} did not end within ${ms / 1000} s`);
  }
}

/** Waits for work that may never settle, for at most `ms`. @throws TimeLimitError, or what the work throws */
export async function within<T>(ms: number, what: string, work: () => PromiseLike<T> | T): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new TimeLimitError(what, ms)), ms);
  });
  try {
    return await Promise.race([work(), limit]);
  } finally {
    clearTimeout(timer);
  }
}
