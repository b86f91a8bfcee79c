import type { Operation } from './operations';

/** The declarations of all operations, as docs/authorization.md shows them. */
export function authorizationTable(operations: readonly Operation[]): string {
  const rows = operations.map(({ name, access: { role, scope, own } }) => {
    const scoped = role === 'anyone' ? '' : scope ? `\`${scope}\`` : 'none';
    return `| \`${name}\` | ${role} | ${scoped} | ${own ? 'own' : ''} |`;
  });
  return ['| operation | role | scope of a key | ownership |', '|---|---|---|---|', ...rows].join('\n');
}
