import { setMaxListeners } from 'node:events';

/** What a call has whose caller never walks away. */
export const neverAborted: AbortSignal = allowMany(new AbortController().signal);

/**
 * Lets any number of concurrent calls listen to one signal. Each takes its listener away when it ends, so the
 * eleventh is load and not the leak that Node warns of (cockatiel shares one signal among all calls without one).
 */
export function allowMany(signal: AbortSignal): AbortSignal {
  setMaxListeners(Infinity, signal);
  return signal;
}
