/**
 * Something about a person that `PersonalData` sealed: it says nothing without that person's key. An object, so that
 * no text that anybody sends can pass for one.
 */
export interface Sealed<T extends object> {
  /** Whose key it takes: an account, or a guest's order. */
  readonly person: string;
  /** Nonce, tag and AES-256-GCM ciphertext, base64url. Equal for equal values of one person. */
  readonly sealed: string;
  /** Names of the members, to show its shape when it can no longer be opened. */
  readonly members: readonly (keyof T & string)[];
}

/** What is shown in place of what can no longer be opened. */
export const erased = '[erased]';
