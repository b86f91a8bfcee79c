import { Query } from '@nestjs/cqrs';
import type { Announcement } from '../../../kernel/event-store/announcement';

/**
 * Shipping asks whether a parcel may leave, of whoever owns the order; orders answers. The answer is what the order records
 * of it, to be committed together with the shipment: so dispatch and cancellation are decided under one version, and
 * whichever commits first is binding. Nothing, if the order has it on record already.
 *
 * @throws DomainError `order-cancelling`, `order-cancelled` (conflict)
 */
export class DecideDispatch extends Query<Announcement | undefined> {
  constructor(
    readonly orderId: string,
    readonly shipmentId: string,
    /** The carrier says that it has left. It comes before a cancellation that is not concluded. */
    readonly hasLeft: boolean,
  ) {
    super();
  }
}
