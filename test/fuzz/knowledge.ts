/** What the OpenAPI document does not say. An operation that is missing here is fuzzed all the same. */

/** How often an operation is chosen; 1 for those that are not named. */
export const weights: Readonly<Record<string, number>> = {
  // everything else lives on orders
  createOrder: 5,
  submitOrder: 2,
  addLine: 2,
  dispatchShipment: 2,
  deliverShipment: 2,
  adjustStock: 2,
  // drafts with lines are few
  changeLine: 3,
  removeLine: 3,
  createProduct: 2,
  createApiKey: 2,
  endApiKey: 2,
  // these hash a password each: 50 ms of a core
  register: 0.3,
  token: 0.3,
  changePassword: 0.3,
  setPassword: 0.3,
  // these sign out whoever asks, or others
  logout: 0.2,
  endMySession: 0.3,
  endMyOtherSessions: 0.3,
  endSessions: 0.2,
  // these take away what other requests need
  eraseMe: 0.1,
  eraseUser: 0.4,
  deactivateUser: 0.4,
  archiveProduct: 0.4,
  pauseSubscription: 0.2,
  isolateCircuitBreaker: 0.2,
  rebuildProjection: 0.4,
  abandonRebuild: 0.4,
};

/** Members that refer to a resource of another name: `customerId` is the id of a user. */
export const alsoKnownAs: Readonly<Record<string, string>> = { customer: 'user' };

/** Members that take a code from a list which the document does not have. */
export const codes: Readonly<Record<string, readonly string[]>> = {
  countryCode: ['GB', 'DE', 'JP', 'AQ'],
  currency: ['EUR', 'USD', 'JPY'],
};

/** Members that mean nothing without another one, and members that contradict another one. */
export const needs: Readonly<Record<string, string>> = {
  minTotalMinor: 'currency',
  maxTotalMinor: 'currency',
  minPriceMinor: 'currency',
  maxPriceMinor: 'currency',
};
export const contradicts: Readonly<Record<string, string>> = { guest: 'customerId', asOf: 'version' };

const noRefreshToken = 'needs a refresh token that is still good, which test/security/sessions.spec.ts has';
const noPair = 'needs an account and one of its keys, which are seldom drawn together';
const noDeadLetter = 'needs a dead letter, which no request can bring about';
const noPassword = 'needs a code or the current password, which test/security/sign-in.spec.ts has';
const noLoss = 'needs a log that has lost events, which no request can bring about';
const noRetired = 'needs a subscription that no program handles, which no request can bring about';
const noLongRebuild = 'needs a rebuild that takes longer than until the next request';
const noParkedSaga = 'needs a parked saga, which no request can bring about';

/** Operations that may end without a 2xx, and why. */
export const unreachable: Readonly<Record<string, string>> = {
  getDeadLetter: noDeadLetter,
  discardDeadLetter: noDeadLetter,
  replayDeadLetter: noDeadLetter,
  refresh: noRefreshToken,
  endApiKeyOf: noPair,
  setPassword: noPassword,
  changePassword: noPassword,
  acknowledgeHistoryChange: noLoss,
  retireSubscription: noRetired,
  retrySaga: noParkedSaga,
  skipCompensation: noParkedSaga,
  rejectCancellation: noParkedSaga,
  abandonRebuild: noLongRebuild,
};

/** Tables that may change while a request is refused, and why. */
export const exemptTables: Readonly<Record<string, string>> = {
  'gateway.idempotency_keys': 'keeps refusals too, so that a repeat gets the same answer',
  'gateway.rate_limits': 'counts requests, also refused ones',
  'subscriptions.checkpoints': 'leases are renewed by timers',
  'users.sessions': 'a used refresh token ends its session when it is refused',
  'users.api_keys': 'the last use of a key is noted, also for what its scopes refuse',
  'users.sign_in_attempts': 'counts failed sign-ins and requests for codes',
  'event_store.snapshots': 'a cache, which any read may fill',
};
