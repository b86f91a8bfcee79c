/**
 * Keeps index.ts, which lists every migration, and landed.sha256, which keeps those that have landed from being changed.
 * `npm run migrations:landed` adds the new files to both. A migration that has run somewhere never runs there again, so a
 * change of it would reach new databases only.
 */
const { createHash } = require('node:crypto');
const { existsSync, readdirSync, readFileSync, writeFileSync } = require('node:fs');
const { join } = require('node:path');

/** Paths below the directory, such as `orders/0001-orders.ts`, in alphabetical order. */
function filesIn(directory) {
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => readdirSync(join(directory, name)).map((file) => `${name}/${file}`))
    .filter((path) => path.endsWith('.ts'))
    .sort();
}

/** Line ends do not count: git may have converted them. */
function hashOf(directory, path) {
  const text = readFileSync(join(directory, path), 'utf8').replaceAll('\r\n', '\n');
  return createHash('sha256').update(text).digest('hex');
}

/** Hashes by path, as `sha256sum` writes them. */
function landedIn(directory) {
  const list = join(directory, 'landed.sha256');
  const lines = existsSync(list) ? readFileSync(list, 'utf8').trim().split(/\r?\n/) : [];
  return new Map(lines.filter(Boolean).map((line) => [line.slice(66), line.slice(0, 64)]));
}

/** One sentence for each landed migration that is not as it landed. */
function changedIn(directory) {
  return [...landedIn(directory)].flatMap(([path, hash]) => {
    if (!existsSync(join(directory, path))) return [`${path} has landed and is missing: restore it.`];
    if (hashOf(directory, path) === hash) return [];
    return [
      `${path} has landed and was changed: restore it, and put the change into a new migration. ` +
        'If it has landed nowhere yet, remove its line from landed.sha256 and run npm run migrations:landed.',
    ];
  });
}

/** The text of index.ts: classes in the order of the numbers at the end of their names. */
function indexOf(directory) {
  const found = filesIn(directory).map((path) => {
    const [, name, timestamp] =
      /^export class (\w+?(\d{13})) /m.exec(readFileSync(join(directory, path), 'utf8')) ?? [];
    if (!name) throw new Error(`${path} exports no class whose name ends in 13 digits, which give it its place.`);
    return { path, name, timestamp };
  });
  const imports = found.map(({ path, name }) => `import { ${name} } from './${path.replace(/\.ts$/, '')}';`);
  const inOrder = found.toSorted((a, b) => Number(a.timestamp) - Number(b.timestamp));
  return [
    `import type { MigrationInterface } from 'typeorm';`,
    ...imports,
    '',
    '/** Every migration, in the order in which they run. Written by `npm run migrations:landed`. */',
    'export const migrations: readonly (new () => MigrationInterface)[] = [',
    ...inOrder.map(({ name }) => `  ${name},`),
    '];',
    '',
  ].join('\n');
}

/** Brings both files up to date; returns the paths that are new. @throws Error when a landed migration was changed */
function land(directory) {
  const changed = changedIn(directory);
  if (changed.length > 0) throw new Error(changed.join('\n'));
  const landed = landedIn(directory);
  const added = filesIn(directory).filter((path) => !landed.has(path));
  for (const path of added) landed.set(path, hashOf(directory, path));
  writeFileSync(join(directory, 'index.ts'), indexOf(directory));
  const lines = [...landed].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, hash]) => `${hash}  ${path}\n`);
  writeFileSync(join(directory, 'landed.sha256'), lines.join(''));
  return added;
}

module.exports = { changedIn, filesIn, indexOf, land, landedIn };

if (require.main === module) {
  try {
    const added = land(__dirname);
    console.log(added.length > 0 ? `Added ${added.join(', ')}` : 'No new migration');
  } catch (error) {
    console.error(error.message);
    process.exitCode = 1;
  }
}
