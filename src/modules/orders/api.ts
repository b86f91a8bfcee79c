import { ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import {
  ArrayMaxSize,
  ArrayNotEmpty,
  IsBoolean,
  IsEmail,
  IsIn,
  IsInt,
  IsOptional,
  IsString,
  IsUUID,
  Length,
  Matches,
  Max,
  MaxDate,
  MaxLength,
  Min,
  ValidateIf,
} from 'class-validator';
import { Instant } from '../../kernel/http/instant';
import { IsCountryCode, IsCurrencyCode } from '../../kernel/http/codes';
import { Needs, NotWith, TakesOnly } from '../../kernel/http/members';
import { ChangesMetadata, type MetadataChange, SetsMetadata } from '../../kernel/http/metadata';
import { Money, otherwiseIncomparable } from '../../kernel/http/money';
import { Nested, NestedList } from '../../kernel/http/nested';
import { PageQuery } from '../../kernel/http/page';
import { IntegerInQuery, SomeOf } from '../../kernel/http/query-values';
import { type OrderStatus, orderStatuses } from './domain/order';

/** Ids are compared with those in the log, which are in small letters. */
const SmallLetters = () =>
  Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value));

export class LineRequest {
  /** @example '00000000-0000-7000-8000-000000000001' */
  @SmallLetters()
  @IsUUID()
  productId!: string;

  /** @example 2 */
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  quantity!: number;

  /** Instead of the catalogue's price (staff), for this quantity: if a customer changes it, the catalogue's price holds. */
  @IsOptional()
  @Nested(() => Money)
  unitPrice?: Money;
}

export class AddressRequest {
  /** @example 'Ada Lovelace' */
  @Length(1, 200)
  name!: string;

  /** @example '12 St James’s Square' */
  @Length(1, 200)
  line1!: string;

  @IsOptional()
  @MaxLength(200)
  line2?: string;

  /** @example 'SW1Y 4JH' */
  @IsOptional()
  @Length(1, 20)
  postalCode?: string;

  /** @example 'London' */
  @Length(1, 200)
  city!: string;

  /** ISO 3166-1 alpha-2; ZZ for an unknown country (staff). The sandbox carrier refuses AQ (Antarctica).
   * @example 'GB' */
  @IsCountryCode()
  @Matches(/^[A-Z]{2}$/)
  countryCode!: string;
}

export class GuestRequest {
  /** @example 'Grace Hopper' */
  @IsOptional()
  @Length(1, 200)
  name?: string;

  /** @example 'grace@example.com' */
  @IsOptional()
  @IsEmail()
  @MaxLength(254)
  email?: string;
}

export class CreateOrderRequest {
  /** At most 1000; none for an empty draft. */
  @ApiPropertyOptional()
  @IsOptional()
  @ArrayMaxSize(1000)
  @NestedList(() => LineRequest)
  lines: LineRequest[] = [];

  @IsOptional()
  @Nested(() => AddressRequest)
  shippingAddress?: AddressRequest;

  /** The provider's token; not needed for a total of 0. The sandbox knows sandbox_ok, sandbox_slow, sandbox_flaky, sandbox_timeout, sandbox_declined
   * and sandbox_insufficient_funds.
   * @example 'sandbox_ok' */
  @IsOptional()
  @Matches(/^\w{1,100}$/, { message: 'paymentMethod must be a token of letters, digits and _' })
  paymentMethod?: string;

  /** The total that the customer was shown. If it is not the total now, the response is 409 `price-changed`, with the new
   * `total` and the `lines`, and nothing is created. */
  @IsOptional()
  @Nested(() => Money)
  expectedTotal?: Money;

  /** true: place it at once, as POST …/submit would.
   * @example true */
  @ApiPropertyOptional()
  @IsOptional()
  @IsBoolean()
  submit: boolean = false;

  /** Your own number for the order.
   * @example 'web-10042' */
  @IsOptional()
  @Length(1, 100)
  reference?: string;

  @SetsMetadata()
  @IsOptional()
  metadata?: MetadataChange;

  /** The account that orders (staff); default: your own. */
  @IsOptional()
  @SmallLetters()
  @IsUUID()
  customerId?: string;

  /** Instead of an account (staff). */
  @IsOptional()
  @NotWith('customerId', 'an order is placed by an account or by a guest')
  @Nested(() => GuestRequest)
  guest?: GuestRequest;

  /** When the customer ordered, if not now (staff), RFC 3339 with a zone: for the import of history. */
  @IsOptional()
  @Instant()
  @MaxDate(() => new Date(Date.now() + 60_000), { message: 'orderedAt must not be in the future' })
  orderedAt?: Date;
}

export class UpdateOrderRequest {
  @ChangesMetadata()
  @IsOptional()
  metadata?: MetadataChange;
}

export class GetOrderQuery {
  /** As it was after its n-th event. */
  @IsOptional()
  @IntegerInQuery()
  @Min(1)
  @Max(2_147_483_647)
  version?: number;

  /** As it was known at this instant, RFC 3339 with a zone. */
  @IsOptional()
  @NotWith('version', 'an order is shown as it was at one of them')
  @Instant()
  asOf?: Date;
}

export class ChangeLineRequest {
  /** @example 3 */
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  quantity!: number;
}

export class SubmitOrderRequest {
  /** Default: what the order was created with. Not needed for a total of 0.
   * @example 'sandbox_ok' */
  @IsOptional()
  @Matches(/^\w{1,100}$/, { message: 'paymentMethod must be a token of letters, digits and _' })
  paymentMethod?: string;

  /** The total that the customer was shown. If it is not the total now, the response is 409 `price-changed`, with the new
   * `total` and the `lines`, and nothing is placed. */
  @IsOptional()
  @Nested(() => Money)
  expectedTotal?: Money;
}

export class CancelOrderRequest {
  /** @example 'changed my mind' */
  @ApiPropertyOptional()
  @IsOptional()
  @Length(1, 500)
  reason: string = 'cancelled on request';
}

/** What a simulated command takes beside its action. */
const membersOfAction: Readonly<Record<string, readonly string[]>> = {
  addLine: ['productId', 'quantity'],
  changeLine: ['lineId', 'quantity'],
  removeLine: ['lineId'],
  setShippingAddress: ['address'],
  submit: ['paymentMethod'],
  cancel: ['reason'],
};

export class SimulatedCommandRequest {
  @TakesOnly(membersOfAction)
  @IsIn(['addLine', 'changeLine', 'removeLine', 'setShippingAddress', 'submit', 'cancel'])
  action!: 'addLine' | 'changeLine' | 'removeLine' | 'setShippingAddress' | 'submit' | 'cancel';

  /** Of addLine. */
  @ValidateIf(({ action }: SimulatedCommandRequest) => action === 'addLine')
  @SmallLetters()
  @IsUUID()
  productId?: string;

  /** Of changeLine and removeLine. */
  @ValidateIf(({ action }: SimulatedCommandRequest) => action === 'changeLine' || action === 'removeLine')
  @SmallLetters()
  @IsUUID()
  lineId?: string;

  /** Of addLine and changeLine. */
  @ValidateIf(({ action }: SimulatedCommandRequest) => action === 'addLine' || action === 'changeLine')
  @IsInt()
  @Min(1)
  @Max(1_000_000)
  quantity?: number;

  /** Of setShippingAddress. */
  @ValidateIf(({ action }: SimulatedCommandRequest) => action === 'setShippingAddress')
  @Nested(() => AddressRequest)
  address?: AddressRequest;

  /** Of submit. */
  @IsOptional()
  @Matches(/^\w{1,100}$/, { message: 'paymentMethod must be a token of letters, digits and _' })
  paymentMethod?: string;

  /** Of cancel. */
  @IsOptional()
  @Length(1, 500)
  reason?: string;
}

export class SimulateRequest {
  /** Tried one after the other.
   * @example [{ "action": "submit", "paymentMethod": "sandbox_ok" }] */
  @ArrayNotEmpty()
  @ArrayMaxSize(50)
  @NestedList(() => SimulatedCommandRequest)
  commands!: SimulatedCommandRequest[];
}

export class SimulatedRefusal {
  /** @example 'order-empty' */
  code!: string;
  message!: string;
}

export class SimulatedResult {
  action!: 'addLine' | 'changeLine' | 'removeLine' | 'setShippingAddress' | 'submit' | 'cancel';

  /** What would be appended to the log. */
  events!: Record<string, unknown>[];

  refusal?: SimulatedRefusal;
}

export class SimulationResponse {
  results!: SimulatedResult[];

  /** Where the order would stand then; what follows in other modules is not part of it. */
  status!: string;

  total!: Money;
}

export class ListOrdersQuery extends PageQuery {
  /** Of one of these statuses. */
  @IsOptional()
  @SomeOf(orderStatuses)
  status?: OrderStatus[];

  /** Staff only; a customer always sees their own. */
  @IsOptional()
  @IsUUID()
  customerId?: string;

  @IsOptional()
  @IsString()
  @Length(1, 100)
  reference?: string;

  /** Recorded at or after, RFC 3339 with a zone. */
  @IsOptional()
  @Instant()
  createdFrom?: Date;

  /** Recorded before, RFC 3339 with a zone. */
  @IsOptional()
  @Instant()
  createdTo?: Date;

  /** Of the total, ISO 4217. */
  @IsOptional()
  @IsCurrencyCode()
  @Matches(/^[A-Z]{3}$/)
  currency?: string;

  /** Integer minor units of `currency`, which is needed as well. */
  @IsOptional()
  @Needs('currency', otherwiseIncomparable)
  @IntegerInQuery()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  minTotalMinor?: number;

  /** Integer minor units of `currency`, which is needed as well. */
  @IsOptional()
  @Needs('currency', otherwiseIncomparable)
  @IntegerInQuery()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  maxTotalMinor?: number;

  /** A leading minus: from the greatest down. Totals are sorted by their currency first. */
  @ApiPropertyOptional()
  @IsOptional()
  @IsIn(['-createdAt', 'createdAt', '-orderedAt', 'orderedAt', '-total', 'total'])
  sort: '-createdAt' | 'createdAt' | '-orderedAt' | 'orderedAt' | '-total' | 'total' = '-createdAt';
}

export class OrderEventResponse {
  id!: string;
  aggregateId!: string;
  aggregateType!: string;
  /** @example 'order.submitted' */
  eventType!: string;
  payload!: Record<string, unknown>;
  timestamp!: Date;
  version!: number;
  position!: number;
}

const shippingAddress = {
  name: 'Ada Lovelace',
  line1: '12 St James’s Square',
  postalCode: 'SW1Y 4JH',
  city: 'London',
  countryCode: 'GB',
};
const lines = [{ productId: '00000000-0000-7000-8000-000000000001', quantity: 2 }];

/** They work as they stand on the demonstration catalogue. */
export const createOrderExamples = {
  place: {
    summary: 'Place an order',
    value: { lines, shippingAddress, paymentMethod: 'sandbox_ok', submit: true },
  },
  declined: {
    summary: 'Place one whose card is declined: everything is taken back',
    value: { lines, shippingAddress, paymentMethod: 'sandbox_declined', submit: true },
  },
  draft: { summary: 'Begin a draft', value: { lines } },
  guest: {
    summary: 'Enter a guest’s order from last week (staff)',
    value: {
      lines: [{ ...lines[0], unitPrice: { amountMinor: 1100, currency: 'EUR' } }],
      guest: { name: 'Grace Hopper', email: 'grace@example.com' },
      orderedAt: '2026-11-15T09:30:00Z',
      shippingAddress,
      paymentMethod: 'sandbox_ok',
      submit: true,
    },
  },
};
