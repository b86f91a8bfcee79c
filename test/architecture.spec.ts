import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IConfiguration, ICruiseResult } from 'dependency-cruiser';
import { foreignSchemas } from './support/foreign-schemas';

const root = join(__dirname, '..');
const fixture = join(__dirname, 'fixtures/boundary-violation');

const { uses, forbidden = [] } = jest.requireActual<IConfiguration & { uses: Record<string, string[]> }>(
  '../.dependency-cruiser.js',
);
const rules = new Set(forbidden.map(({ name }) => name ?? ''));

describe('imports', () => {
  it('keep the rules', () => {
    const { modules, summary } = cruise(root);

    // With a TypeScript that has no API, dependency-cruiser finds no modules, and so no violations.
    expect(modules.filter(({ source }) => source.startsWith('src/')).length).toBeGreaterThan(0);
    expect(summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} → ${to}`)).toEqual([]);
  });

  it('are caught where they break a rule, only there, and each rule is broken once', () => {
    const violations = cruise(fixture).summary.violations;

    expect(violations.map(({ rule, from }) => `${rule.name}: ${from}`).sort()).toEqual(
      marked(/\/\/ ([a-z-]+)$/).filter((line) => rules.has(line.split(':')[0] ?? '')),
    );
    expect(new Set(violations.map(({ rule }) => rule.name))).toEqual(rules);
  });
});

describe('the table of who uses whom', () => {
  it('names modules that have an entry of their own', () => {
    expect(
      Object.values(uses)
        .flat()
        .filter((name) => !(name in uses)),
    ).toEqual([]);
  });

  it('has no circle', () => {
    expect(circleIn(uses)).toBeUndefined();
    expect(circleIn({ a: ['b'], b: ['c'], c: ['b'] })).toEqual(['b', 'c', 'b']);
  });
});

describe('SQL', () => {
  it('touches the schema of its own module only', () => {
    expect(sourcesOf(root).length).toBeGreaterThan(0);
    expect(foreignSchemasUnder(root)).toEqual([]);
  });

  it('is caught where it reaches into another schema', () => {
    expect(foreignSchemasUnder(fixture)).toEqual(marked(/\/\/ SQL: ([a-z]+)$/));
  });

  const schemas = ['orders', 'users', 'products', 'payments', 'event_store'];
  const found = (source: string) => foreignSchemas(source, { owned: ['orders'], schemas }).map(({ name }) => name);

  it.each([
    ['a select', 'db.query(`select * from users.users where id = $1`)', ['users.users']],
    ['a join', 'db.query(\'SELECT 1 FROM orders.orders o JOIN "users"."users" u ON true\')', ['users.users']],
    ['a function', "db.query('select event_store.append($1, $2)')", ['event_store.append']],
    ['an update', 'db.query(`update products.stock set on_hand = 0`)', ['products.stock']],
    ['a foreign key', 'q.query(`create table orders.x (id uuid references users.users)`)', ['users.users']],
    ['text put together with +', "db.query('select * ' + 'from users.' + 'users')", ['users.users']],
    ['a template inside a template', 'sql`a ${x ? `join users.users u` : ``}`', ['users.users']],
    ['a clause', 'const on = `left join payments.charges c on c.order_id = o.id`', ['payments.charges']],
    ['a table of the name of an own one', 'q(`select payments.id from orders.payments, users.users`)', ['users.users']],
    ['an entity', "@Entity({ name: 'users', schema: 'users' }) class A {}", ["schema: 'users'"]],
    ['an entity with a qualified name', "@Entity('users.users') class A {}", ['users.users']],
    ['a query builder', "builder.leftJoin('users.users', 'u')", ['users.users']],
  ])('is caught in %s', (_what, source, names) => {
    expect(found(source)).toEqual(names);
  });

  it.each([
    ['an own table', 'db.query(`select o.id from orders.orders o where orders.id = 1`)'],
    [
      'an event type',
      "apply({ type: 'products.created' }); db.query(`select 1 from orders.x where t = 'users.created'`)",
    ],
    ['a property', 'const from = users.name; select(products.items);'],
    ['a comment in SQL', 'db.query(`select 1 from orders.orders -- like users.users\n`)'],
    ['a sentence', "log('cannot read products.csv'); fail('update the users.name field')"],
    ['an OpenAPI schema', "ApiOkResponse({ schema: { type: 'string' } })"],
    ['an import of an operator', "import { from } from 'rxjs'; from(['users.users']);"],
  ])('is not seen in %s', (_what, source) => {
    expect(found(source)).toEqual([]);
  });
});

/** Runs the tool as `npm run lint` does: it is ESM, and reads the working directory. */
function cruise(directory: string): ICruiseResult {
  const folders = ['src', 'migrations'].filter((folder) => existsSync(join(directory, folder)));
  const tool = join(root, 'node_modules/dependency-cruiser/bin/dependency-cruise.mjs');
  const config = join(root, '.dependency-cruiser.js');
  const json = execFileSync(process.execPath, [tool, ...folders, '--config', config, '--output-type', 'json'], {
    cwd: directory,
    encoding: 'utf8',
    maxBuffer: 256 * 1024 * 1024,
  });
  return JSON.parse(json) as ICruiseResult;
}

/** What the comments in the fixture announce, as `<what>: <file>`. */
function marked(comment: RegExp): string[] {
  return sourcesOf(fixture)
    .flatMap((file) =>
      readFileSync(join(fixture, file), 'utf8')
        .split('\n')
        .map((line) => comment.exec(line)?.[1])
        .filter((what) => what !== undefined)
        .map((what) => `${what}: ${file}`),
    )
    .sort();
}

function sourcesOf(directory: string): string[] {
  return ['src', 'migrations']
    .filter((folder) => existsSync(join(directory, folder)))
    .flatMap((folder) =>
      readdirSync(join(directory, folder), { recursive: true, encoding: 'utf8' }).map((path) => join(folder, path)),
    )
    .filter((path) => /\.(ts|sql)$/.test(path))
    .map((path) => path.replaceAll('\\', '/'));
}

const kernelSchemas = ['event_store', 'subscriptions', 'sagas', 'personal_data'];

/** A module owns the schema of its name, the kernel four; a folder of migrations owns what its code owns. */
function ownedBy(file: string): string[] {
  const [, owner] = /^(?:migrations|src\/modules|src(?=\/(?:kernel|gateway)\/))\/([^/]+)\//.exec(file) ?? [];
  if (!owner) return [];
  const schema = owner.replaceAll('-', '_');
  return schema === 'kernel' || kernelSchemas.includes(schema) ? kernelSchemas : [schema];
}

function foreignSchemasUnder(directory: string): string[] {
  const files = sourcesOf(directory);
  const schemas = [...new Set([...kernelSchemas, ...files.flatMap(ownedBy)])];
  return files
    .flatMap((file) => {
      const text = readFileSync(join(directory, file), 'utf8');
      const source = file.endsWith('.sql') ? `\`${text.replace(/[`\\$]/g, ' ')}\`` : text;
      return foreignSchemas(source, { owned: ownedBy(file), schemas }).map(({ schema }) => `${schema}: ${file}`);
    })
    .sort();
}

function circleIn(graph: Record<string, string[]>): string[] | undefined {
  const walk = (path: string[]): string[] | undefined => {
    const [last = ''] = path.slice(-1);
    const seenAt = path.indexOf(last);
    if (seenAt < path.length - 1) return path.slice(seenAt);
    return (graph[last] ?? []).map((next) => walk([...path, next])).find((circle) => circle);
  };
  return Object.keys(graph)
    .map((start) => walk([start]))
    .find((circle) => circle);
}
