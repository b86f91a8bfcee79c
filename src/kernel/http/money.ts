import { ApiProperty } from '@nestjs/swagger';
import { IsInt, Matches, Max, Min } from 'class-validator';

/** Why an amount without its currency cannot be searched for. */
export const otherwiseIncomparable = 'amounts in different currencies cannot be compared';

/** An amount in integer minor units of its currency: 1999 EUR is 19.99 €. */
export class Money {
  @ApiProperty({ example: 1999, minimum: 0, maximum: Number.MAX_SAFE_INTEGER, type: 'integer' })
  @IsInt()
  @Min(0)
  @Max(Number.MAX_SAFE_INTEGER)
  amountMinor!: number;

  /** ISO 4217, three capital letters. */
  @ApiProperty({ example: 'EUR', pattern: '^[A-Z]{3}$' })
  @Matches(/^[A-Z]{3}$/, { message: 'currency must be three capital letters, such as EUR' })
  currency!: string;
}
