/**
 * Lets a process of its own run TypeScript as it stands, with the transform of the tests instead of a build. Require it
 * first.
 *
 * With PLANTED in the environment it runs a copy with bugs in it: a list of `{ file, find, replace }`, each of which has
 * to meet its text exactly once, or the process ends. What was not loaded was not planted: see `assertPlanted`.
 */
const { readFileSync } = require('node:fs');
const { relative, resolve } = require('node:path');
const { process: compile } = require('./swc-transform');

const root = resolve(__dirname, '../..');
const edits = JSON.parse(process.env.PLANTED ?? '[]');
const planted = new Set();

require.extensions['.ts'] = (module, path) => {
  let source = readFileSync(path, 'utf8');
  for (const edit of edits.filter(({ file }) => resolve(root, file) === path)) {
    const found = source.split(edit.find).length - 1;
    if (found !== 1) throw new Error(`${relative(root, path)} has ${found} times what is to be replaced: ${edit.find}`);
    source = source.replace(edit.find, () => edit.replace);
    planted.add(edit);
  }
  module._compile(compile(source, path).code, path);
};

exports.assertPlanted = () => {
  const missing = edits.filter((edit) => !planted.has(edit));
  if (missing.length > 0) throw new Error(`Not loaded, so not planted: ${missing.map(({ file }) => file).join(', ')}`);
};
