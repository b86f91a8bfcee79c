import type { ObjectLiteral, SelectQueryBuilder } from 'typeorm';
import type { Listed, SortValues } from '../http/list-order';

/** Entities of a query without joins that also selects `ListOrder.sortValues` as `cursor`. */
export async function listed<T extends ObjectLiteral>(query: SelectQueryBuilder<T>): Promise<Listed<T>[]> {
  const { entities, raw } = await query.getRawAndEntities<{ cursor: SortValues }>();
  return entities.map((entity, nth) => ({ ...entity, cursor: raw[nth]!.cursor }));
}
