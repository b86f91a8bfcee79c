import { Command } from '@nestjs/cqrs';

export interface ReservationLine {
  readonly productId: string;
  readonly quantity: number;
}

/**
 * Sets stock aside for an order, all of it or nothing. `key` names the reservation: a repeat changes nothing.
 *
 * @throws DomainError `out-of-stock` (conflict; `short` lists what is), `reservation-released` (conflict)
 */
export class ReserveInventory extends Command<{ reservationId: string }> {
  constructor(
    readonly key: string,
    readonly orderId: string,
    readonly lines: readonly ReservationLine[],
  ) {
    super();
  }
}

/** Gives back what `key` reserved; safe, and final, when it never did. What has been shipped stays shipped. */
export class ReleaseInventory extends Command<void> {
  constructor(
    readonly key: string,
    readonly orderId: string,
  ) {
    super();
  }
}
