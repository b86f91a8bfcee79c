import { Command, CommandHandler, type ICommandHandler } from '@nestjs/cqrs';
import { type MetadataChange, mergedMetadata } from '../../../kernel/http/metadata';
import { PersonalData } from '../../../kernel/personal-data/personal-data';
import { type By, personBehind } from '../domain/order';
import { type KnownOrder, OrderStreams, type OrderVersion } from '../order-streams';

/**
 * In any state of the order.
 *
 * @throws DomainError `metadata-too-large` (invalid), `person-erased` (conflict)
 */
export class ChangeMetadata extends Command<OrderVersion> {
  constructor(
    readonly orderId: string,
    readonly by: By,
    readonly change: MetadataChange,
    readonly expectedVersion?: number,
  ) {
    super();
  }
}

@CommandHandler(ChangeMetadata)
export class ChangeMetadataHandler implements ICommandHandler<ChangeMetadata> {
  constructor(
    private readonly orders: OrderStreams,
    private readonly personalData: PersonalData,
  ) {}

  execute({ orderId, by, change, expectedVersion }: ChangeMetadata): Promise<OrderVersion> {
    const prepare = async (order: KnownOrder) => {
      const before = (order.metadata && (await this.personalData.open(order.metadata))) ?? {};
      const metadata = mergedMetadata(before, change);
      const isEmpty = Object.keys(metadata).length === 0;
      const sealed = isEmpty ? undefined : await this.personalData.sealWhole(personBehind(order), metadata);
      return { type: 'change-metadata', by, metadata: sealed } as const;
    };
    return this.orders.decideOn(by, orderId, prepare, expectedVersion);
  }
}
