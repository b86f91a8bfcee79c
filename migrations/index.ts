import type { MigrationInterface } from 'typeorm';
import { EventStoreLog1790000000001 } from './event-store/0001-log';
import { EventStoreSnapshots1790000000020 } from './event-store/0002-snapshots';
import { EventStoreAppend1790000000023 } from './event-store/0003-append';
import { EventStoreAppendAsOwner1790000000040 } from './event-store/0004-append-as-owner';
import { EventStoreCauses1790000000081 } from './event-store/0005-causes';
import { GatewayIdempotency1790000000004 } from './gateway/0001-idempotency';
import { GatewayFailuresAfterCommit1790000000071 } from './gateway/0002-failures-after-commit';
import { GatewayRateLimits1790000000140 } from './gateway/0003-rate-limits';
import { Orders1790000000014 } from './orders/0001-orders';
import { OrdersByTotal1790000000091 } from './orders/0002-by-total';
import { OrdersFigures1790000000160 } from './orders/0003-figures';
import { OrdersMetadata1790000000150 } from './orders/0004-metadata';
import { Payments1790000000012 } from './payments/0001-payments';
import { PaymentsFigures1790000000161 } from './payments/0002-figures';
import { PersonalData1790000000021 } from './personal-data/0001-keys';
import { Products1790000000011 } from './products/0001-products';
import { ProductsSkuKeys1790000000110 } from './products/0002-sku-keys';
import { ProductsStockVersion1790000000111 } from './products/0003-stock-version';
import { ProductsWriteOffs1790000000112 } from './products/0004-write-offs';
import { ProductsMetadata1790000000151 } from './products/0005-metadata';
import { Sagas1790000000003 } from './sagas/0001-sagas';
import { Shipping1790000000013 } from './shipping/0001-shipping';
import { Subscriptions1790000000002 } from './subscriptions/0001-subscriptions';
import { SubscriptionsRebuildAsOwner1790000000041 } from './subscriptions/0002-rebuild-as-owner';
import { SubscriptionsQuietSwap1790000000051 } from './subscriptions/0003-quiet-swap';
import { SubscriptionsKnowledgeAndHistory1790000000061 } from './subscriptions/0004-knowledge-and-history';
import { Users1790000000010 } from './users/0001-users';
import { UsersErasure1790000000022 } from './users/0002-erasure';
import { UsersSignIn1790000000030 } from './users/0003-sign-in';
import { UsersCanonicalEmail1790000000092 } from './users/0004-canonical-email';
import { UsersSessions1790000000120 } from './users/0005-sessions';
import { UsersApiKeys1790000000121 } from './users/0006-api-keys';
import { UsersIdentities1790000000130 } from './users/0007-identities';
import { UsersMetadata1790000000152 } from './users/0008-metadata';

/** Every migration, in the order in which they run. Written by `npm run migrations:landed`. */
export const migrations: readonly (new () => MigrationInterface)[] = [
  EventStoreLog1790000000001,
  Subscriptions1790000000002,
  Sagas1790000000003,
  GatewayIdempotency1790000000004,
  Users1790000000010,
  Products1790000000011,
  Payments1790000000012,
  Shipping1790000000013,
  Orders1790000000014,
  EventStoreSnapshots1790000000020,
  PersonalData1790000000021,
  UsersErasure1790000000022,
  EventStoreAppend1790000000023,
  UsersSignIn1790000000030,
  EventStoreAppendAsOwner1790000000040,
  SubscriptionsRebuildAsOwner1790000000041,
  SubscriptionsQuietSwap1790000000051,
  SubscriptionsKnowledgeAndHistory1790000000061,
  GatewayFailuresAfterCommit1790000000071,
  EventStoreCauses1790000000081,
  OrdersByTotal1790000000091,
  UsersCanonicalEmail1790000000092,
  ProductsSkuKeys1790000000110,
  ProductsStockVersion1790000000111,
  ProductsWriteOffs1790000000112,
  UsersSessions1790000000120,
  UsersApiKeys1790000000121,
  UsersIdentities1790000000130,
  GatewayRateLimits1790000000140,
  OrdersMetadata1790000000150,
  ProductsMetadata1790000000151,
  UsersMetadata1790000000152,
  OrdersFigures1790000000160,
  PaymentsFigures1790000000161,
];
