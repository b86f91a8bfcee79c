import type { Cells } from '../cells';
import type { Format, OrderRow } from './format';

/** <https://doi.org/10.24432/C5BW33>, and its copies. */
export const onlineRetail: Format = {
  name: 'online-retail',
  columns: {
    InvoiceNo: ['Invoice'],
    StockCode: [],
    Description: [],
    Quantity: [],
    InvoiceDate: [],
    UnitPrice: ['Price'],
    CustomerID: [],
    Country: [],
  },
  optional: [],
  dateFormats: [],
  headOnce: false,
  freeGoods: false,

  read(cells: Cells): OrderRow | undefined {
    const reference = cells.text('InvoiceNo', 100);
    if (!reference) return cells.mistake('InvoiceNo is empty');
    const quantity = cells.quantity('Quantity');
    const unitPriceMinor = cells.price('UnitPrice');
    const orderedAt = cells.instant('InvoiceDate');
    if (quantity === undefined || unitPriceMinor === undefined || orderedAt === undefined) return undefined;
    // spreadsheets and data frames turn a column of numbers with gaps into decimal fractions
    const customerId = cells.text('CustomerID', 100).replace(/^(\d+)\.0+$/, '$1');
    const name = customerId ? `Customer ${customerId}` : 'Guest';
    const country = cells.text('Country');
    return {
      reference,
      head: {
        orderedAt,
        customer: customerId ? { id: customerId, name } : undefined,
        address: { name, line1: '', city: country, country },
        fate: { target: 'completed' },
      },
      goods: {
        sku: cells.text('StockCode', 64),
        name: cells.text('Description', 10_000),
        quantity,
        unitPriceMinor,
        unitPrice: cells.text('UnitPrice'),
      },
    };
  },
};
