/** The import cannot go on; the message is one sentence that says what to do, and no stack would add to it. */
export class ImportError extends Error {
  override readonly name = 'ImportError';
}
