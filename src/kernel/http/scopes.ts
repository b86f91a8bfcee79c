/** What an API key or another limited credential may be used for, and how that reads in the document. */
export const scopes = {
  'orders:read': 'Read orders, their events and their timelines',
  'orders:write': 'Create, change, submit and cancel orders',
  'products:read': 'Read stock and its ledger; the catalogue is public',
  'products:write': 'Change the catalogue and the stock',
  'payments:read': 'Read payments',
  'shipments:read': 'Read shipments',
  'shipments:write': 'Dispatch and deliver shipments',
  'users:read': 'Read accounts',
  'users:write': 'Open, change and close accounts',
  'operations:read': 'Read sagas, dead letters, subscriptions and the log',
  'operations:write': 'Retry, skip, replay, pause and rebuild',
} as const;

export type Scope = keyof typeof scopes;
