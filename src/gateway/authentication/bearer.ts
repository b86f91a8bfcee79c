/** The credential in an `Authorization` header of the scheme Bearer (RFC 6750). */
export function bearerOf(authorization: string | undefined): string | undefined {
  return /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1];
}
