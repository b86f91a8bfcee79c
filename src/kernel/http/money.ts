import { ApiProperty } from '@nestjs/swagger';
import { IsInt, Matches, Max, Min } from 'class-validator';
import { IsCurrencyCode } from './codes';

/** Why an amount without its currency cannot be searched for. */
export const otherwiseIncomparable = 'amounts in different currencies cannot be compared';

/** An amount in integer minor units of its currency: 1999 EUR is 19.99 €. */
export class Money {
  @ApiProperty({ example: 1999, minimum: 0, maximum: Number.MAX_SAFE_INTEGER, type: 'integer' })
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  amountMinor!: number;

  /** ISO 4217. */
  @ApiProperty({ example: 'EUR', pattern: '^[A-Z]{3}$' })
  @IsCurrencyCode()
  @Matches(/^[A-Z]{3}$/)
  currency!: string;
}
