import { parseSync } from '@swc/core';

/** A place where code reaches into a Postgres schema that is not its own. */
export interface ForeignSchema {
  readonly schema: string;
  /** The name as written, such as `orders.order_summaries`. */
  readonly name: string;
}

type SyntaxNode = Readonly<Record<string, unknown>>;

/**
 * Which schemas a piece of TypeScript touches besides those in `owned`: in SQL and in TypeORM's entity options.
 *
 * Only literals are looked at, and only those that read as SQL, so that event types (`'order.created'`), property
 * accesses and prose do not count. A template's expressions are opaque: what they bring in is seen where it is written.
 */
export function foreignSchemas(
  source: string,
  { owned, schemas }: { owned: readonly string[]; schemas: readonly string[] },
): ForeignSchema[] {
  const found: ForeignSchema[] = [];
  const report = (schema: string | undefined, name: string) => {
    if (schema && schemas.includes(schema) && !owned.includes(schema)) found.push({ schema, name });
  };

  const visit = (node: unknown): void => {
    if (Array.isArray(node)) return node.forEach(visit);
    if (!isNode(node)) return;

    const text = textOf(node);
    if (text !== undefined) {
      if (isSql(text)) for (const name of tablesIn(text, owned)) report(name.split('.')[0], name);
      expressionsIn(node).forEach(visit);
      return;
    }
    if (node.type === 'KeyValueProperty' && isNode(node.key) && node.key.value === 'schema' && isNode(node.value)) {
      const schema = textOf(node.value);
      report(schema, `schema: '${schema}'`);
    }
    for (const name of tableArguments(node)) report(name.split('.')[0], name);
    Object.values(node).forEach(visit);
  };

  visit(parseSync(source, { syntax: 'typescript', decorators: true, target: 'es2022' }));
  return found;
}

// A statement, or a clause of one that is put together from pieces. Requiring the grammar around the keyword keeps
// sentences out: "update the orders.list page" has no SET, "select one from products." no name after the dot.
const sql = [
  /\bselect\b[\s\S]*\bfrom\b/i,
  /^\s*select\s+[\w."]+\s*\(/i,
  /\binsert\s+into\b/i,
  /\bupdate\s+[\s\S]*\bset\b/i,
  /\bdelete\s+from\b/i,
  /\b(create|alter|drop|truncate|lock)\s+(or\s+replace\s+)?(unique\s+)?(table|index|view|materialized|schema|sequence|type|function|trigger|only)\b/i,
  /\btruncate\s+[\w."]+/i,
  /^\s*(from|where|order\s+by|(left|right|full|inner|cross)\s+join|join|references|using|union|with|call|comment\s+on)\s+[\w."(]/i,
];
const isSql = (text: string) => sql.some((pattern) => pattern.test(text));

/** `schema.name` for every qualified name outside of the SQL's own strings and comments. */
function tablesIn(text: string, owned: readonly string[]): string[] {
  const bare = text.replace(/--[^\n]*|\/\*[\s\S]*?\*\/|'(?:[^']|'')*'/g, ' ').replaceAll('"', '');
  const names: string[] = [];
  for (const match of bare.matchAll(/(?<![\w.])([a-z_]+)\.[a-z_]+/gi)) {
    const [name, qualifier = ''] = [match[0].toLowerCase(), match[1]?.toLowerCase()];
    const isRelation = /\b(from|join|into|update|table|references|using|on|only|truncate|call)\s+$/i.test(
      bare.slice(0, match.index),
    );
    // `from orders.payments` lets the rest of the statement say `payments.amount`: a column, not a schema.
    const namesOwnTable = owned.some((schema) => new RegExp(`\\b${schema}\\.${qualifier}\\b`, 'i').test(bare));
    if (isRelation || !namesOwnTable) names.push(name);
  }
  return [...new Set(names)];
}

const takesTable = /^(Entity|ViewEntity|from|into|update|addFrom|(left|inner)Join.*)$/;

/** `'schema.table'` where TypeORM takes one: `@Entity('…')`, `@Entity({ name: '…' })`, `query.from('…', 'o')`. */
function tableArguments(node: SyntaxNode): string[] {
  if (node.type !== 'CallExpression' || !isNode(node.callee)) return [];
  const callee = isNode(node.callee.property) ? node.callee.property.value : node.callee.value;
  if (typeof callee !== 'string' || !takesTable.test(callee)) return [];
  return (node.arguments as { expression: SyntaxNode }[])
    .flatMap(({ expression }) =>
      expression.type === 'ObjectExpression'
        ? (expression.properties as SyntaxNode[]).map((property) => property.value)
        : [expression],
    )
    .map((value) => (isNode(value) ? textOf(value) : undefined))
    .filter((text) => text !== undefined && /^[a-z_]+\.[a-z_]+$/i.test(text)) as string[];
}

const isNode = (value: unknown): value is SyntaxNode => typeof value === 'object' && value !== null;

/** The text of a string, a template or a `+` of such, with `$` for what is only known at run time. */
function textOf(node: SyntaxNode): string | undefined {
  if (node.type === 'StringLiteral') return node.value as string;
  if (node.type === 'TemplateLiteral') {
    return (node.quasis as { raw: string; cooked?: string }[]).map(({ raw, cooked }) => cooked ?? raw).join('$');
  }
  if (node.type === 'BinaryExpression' && node.operator === '+') {
    const [left, right] = [textOf(node.left as SyntaxNode), textOf(node.right as SyntaxNode)];
    return left === undefined && right === undefined ? undefined : `${left ?? '$'}${right ?? '$'}`;
  }
  return undefined;
}

/** The expressions that {@link textOf} left out of a text. */
function expressionsIn(node: SyntaxNode): SyntaxNode[] {
  if (node.type === 'TemplateLiteral') return node.expressions as SyntaxNode[];
  if (node.type !== 'BinaryExpression') return [];
  return [node.left as SyntaxNode, node.right as SyntaxNode].flatMap((side) =>
    textOf(side) === undefined ? [side] : expressionsIn(side),
  );
}
