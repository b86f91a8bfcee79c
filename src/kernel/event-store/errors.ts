/** The aggregate is not at the version that the caller named: read it again, then decide anew. */
export class VersionMismatch extends Error {
  override readonly name = 'VersionMismatch';

  constructor(
    readonly expected: number,
    readonly actual: number,
  ) {
    super(`The resource is at version ${actual}, not ${expected}: somebody changed it since you read it.`);
  }
}

/** Other writers were quicker, again and again. Nothing was written; trying later helps. */
export class ContentionError extends Error {
  override readonly name = 'ContentionError';
  readonly retryAfterMs = 1000;
}

/** More appends are waiting than the log takes in a while. Nothing was written; trying later helps. */
export class OverloadError extends Error {
  override readonly name = 'OverloadError';
  readonly retryAfterMs = 1000;
}
