import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Landed {
  changedIn(directory: string): string[];
  filesIn(directory: string): string[];
  indexOf(directory: string): string;
  land(directory: string): string[];
  landedIn(directory: string): ReadonlyMap<string, string>;
}

const root = join(__dirname, '../migrations');
const { changedIn, filesIn, indexOf, land, landedIn } = jest.requireActual<Landed>('../migrations/landed.js');

describe('the migrations', () => {
  it('are all in index.ts, in the order of their numbers', () => {
    expect(filesIn(root).length).toBeGreaterThan(10);
    // otherwise: npm run migrations:landed
    expect(readFileSync(join(root, 'index.ts'), 'utf8')).toBe(indexOf(root));
  });

  it('are all in landed.sha256, and are as they landed', () => {
    expect(changedIn(root)).toEqual([]);
    expect([...landedIn(root).keys()]).toEqual(filesIn(root));
  });

  describe('of a copy', () => {
    let directory: string;
    const file = (path: string) => join(directory, path);
    const edit = (path: string, change: (text: string) => string) =>
      writeFileSync(file(path), change(readFileSync(file(path), 'utf8')));

    beforeEach(() => {
      directory = mkdtempSync(join(tmpdir(), 'orderloom-migrations-'));
      cpSync(root, directory, { recursive: true });
    });
    afterEach(() => rmSync(directory, { recursive: true }));

    it('are taken up by one command when they are new', () => {
      writeFileSync(
        file('orders/0099-new.ts'),
        'export class OrdersNew1790000000005 implements MigrationInterface {}\n',
      );
      expect(land(directory)).toEqual(['orders/0099-new.ts']);
      expect(readFileSync(file('index.ts'), 'utf8')).toMatch(
        /GatewayIdempotency1790000000004,\n {2}OrdersNew1790000000005,\n {2}Users1790000000010,/,
      );
      expect(readFileSync(file('landed.sha256'), 'utf8')).toMatch(/^[0-9a-f]{64} {2}orders\/0099-new\.ts$/m);
      expect(land(directory)).toEqual([]);
      expect(changedIn(directory)).toEqual([]);
    });

    it('may have other line ends', () => {
      edit('orders/0001-orders.ts', (text) => text.replaceAll('\n', '\r\n'));
      expect(changedIn(directory)).toEqual([]);
    });

    it('are refused when they were changed or removed after they had landed, with what to do', () => {
      edit('orders/0001-orders.ts', (text) => text.replace('create table', 'create unlogged table'));
      rmSync(file('users/0001-users.ts'));
      expect(changedIn(directory)).toEqual([
        expect.stringMatching(
          /^orders\/0001-orders\.ts has landed and was changed: restore it, and put the change into/,
        ),
        'users/0001-users.ts has landed and is missing: restore it.',
      ]);
      expect(() => land(directory)).toThrow('has landed and was changed');
    });
  });
});
