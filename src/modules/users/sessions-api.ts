import type { Session } from './sessions';

export class SessionResponse {
  /** @example '0198c2f0-7f1e-7d5a-9f43-0b6de4a8c111' */
  id!: string;

  /** Of the address of the last use, /24 of IPv4 or /48 of IPv6.
   * @example '203.0.113.0/24' */
  network!: string;

  /** What the client called itself at the last use.
   * @example 'Mozilla/5.0 (X11; Linux x86_64) Firefox/145.0' */
  userAgent!: string;

  createdAt!: Date;

  /** When it was opened, or its refresh token was exchanged last. */
  lastUsedAt!: Date;

  /** Unless it is used before. */
  expiresAt!: Date;

  /** True for the session of this request. */
  current!: boolean;
}

export const sessionResponse =
  (currentId: string | undefined) =>
  ({ id, network, userAgent, createdAt, lastUsedAt, expiresAt }: Session): SessionResponse => ({
    id,
    network,
    userAgent,
    createdAt,
    lastUsedAt,
    expiresAt,
    current: id === currentId,
  });
