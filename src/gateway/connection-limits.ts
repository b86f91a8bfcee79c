import type { ServerOptions } from 'node:http';
import type { Config } from '../config/config';

/** Time for the request line and the headers, in ms. */
const headersTimeout = 10_000;

/** Time without a byte in either direction, in ms. `Prefer: wait=60` keeps a connection silent for a minute. */
export const connectionTimeout = 120_000;

/** Time that an idle connection is kept for the next request, in ms; longer than load balancers keep theirs. */
export const keepAliveTimeout = 72_000;

/** How often Node looks for requests that take too long, in ms. */
const connectionsCheckingInterval = 1000;

/** For Node's HTTP server: the bounds on the time that a client may take to send a request. */
export function arrivalLimits({ REQUEST_TIMEOUT_SECONDS }: Config): ServerOptions {
  const requestTimeout = REQUEST_TIMEOUT_SECONDS * 1000;
  return {
    headersTimeout: Math.min(headersTimeout, requestTimeout),
    requestTimeout,
    connectionsCheckingInterval,
    // the application refuses a request without one: Node's own answer has no body
    requireHostHeader: false,
  };
}
