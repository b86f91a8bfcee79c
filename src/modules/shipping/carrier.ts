import { createHash } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import type { PostalAddress } from './contracts/create-shipment';

export type Booking =
  | { readonly outcome: 'booked'; readonly trackingNumber: string }
  /** `reason` is recorded and shown to the customer. */
  | { readonly outcome: 'refused'; readonly reason: string };

/** The company that moves the parcels. Calls may be repeated with their key. */
export abstract class Carrier {
  abstract book(key: string, to: PostalAddress, signal: AbortSignal): Promise<Booking>;
  /** Safe for a key that was never booked. */
  abstract cancel(key: string, signal: AbortSignal): Promise<void>;
}

/** A carrier that ships with the app and goes everywhere but to Antarctica (country code AQ). It keeps no books. */
@Injectable()
export class SandboxCarrier extends Carrier {
  book(key: string, to: PostalAddress): Promise<Booking> {
    if (to.countryCode === 'AQ') {
      return Promise.resolve({ outcome: 'refused', reason: 'The sandbox carrier does not go to Antarctica.' });
    }
    const digits = BigInt(`0x${createHash('sha256').update(key).digest('hex').slice(0, 14)}`)
      .toString()
      .padStart(17, '0');
    return Promise.resolve({ outcome: 'booked', trackingNumber: `SBX${digits.slice(-15)}` });
  }

  cancel(): Promise<void> {
    return Promise.resolve();
  }
}
