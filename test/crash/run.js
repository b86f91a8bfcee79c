// Runs crash.ts as it stands: with the transform of the tests instead of a build of its own.
const { readFileSync } = require('node:fs');
const { process: compile } = require('../support/swc-transform');

require.extensions['.ts'] = (module, path) => module._compile(compile(readFileSync(path, 'utf8'), path).code, path);
require('./crash.ts');
