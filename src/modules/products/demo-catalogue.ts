import { idOf } from '../../kernel/ids';
import type { Catalogue } from './catalogue';
import type { Stock } from './stock';

/** Ids are fixed, so that the examples in Swagger UI and README work as they stand. */
const demo = [
  ['TEA-EG-100', 'Earl Grey, 100 g', 'Black tea with oil of bergamot', 1250, 500],
  ['TEA-SE-100', 'Sencha, 100 g', 'Green tea, first harvest', 1690, 300],
  ['POT-CI-08', 'Cast iron teapot, 0.8 l', 'Enamelled inside, with strainer', 5900, 40],
  ['CUP-ST-02', 'Stoneware cups, pair', 'Glazed by hand: no two alike', 2400, 120],
  ['LTD-001', 'Collector’s tin, numbered', 'Ten were made', 9900, 10],
] as const;

/** A few products with stock for an empty database; does nothing when there is a product. */
export async function stockDemoCatalogue(catalogue: Catalogue, stock: Stock): Promise<void> {
  if (!(await catalogue.isEmpty())) return;
  for (const [nth, [sku, name, description, priceMinor, onHand]] of demo.entries()) {
    const id = `00000000-0000-7000-8000-00000000000${nth + 1}`;
    await catalogue.create({ sku, name, description, priceMinor, currency: 'EUR' }, id);
    await stock.adjust(idOf(`demo stock of ${sku}`), id, onHand, 'demonstration stock');
  }
}
