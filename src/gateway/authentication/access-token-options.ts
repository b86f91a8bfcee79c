export const ACCESS_TOKEN_OPTIONS = Symbol('access-token.options');

export interface AccessTokenOptions {
  readonly lifetimeSeconds: number;
}
