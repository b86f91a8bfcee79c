import type { FastifyRequest } from 'fastify';
import type { Config } from '../config/config';

/** Where the client reaches the API, without a slash at the end: PUBLIC_URL, or what the request itself was sent to. */
export function publicUrl({ PUBLIC_URL }: Pick<Config, 'PUBLIC_URL'>, request: FastifyRequest): string | undefined {
  if (PUBLIC_URL) return PUBLIC_URL;
  // From the parsed form: the Host header may hold anything, and this goes into another header.
  const url = `${request.protocol}://${request.host}`;
  const origin = URL.canParse(url) ? new URL(url).origin : '';
  // what is parsed may have quotes in its name
  return /^https?:\/\/[\w.:[\]-]+$/.test(origin) ? origin : undefined;
}
