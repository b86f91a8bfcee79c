// Runs TypeScript as it stands, like test/crash/run.js: the command itself, or one contender as a process of its own.
const { spawnSync } = require('node:child_process');
const { existsSync, readFileSync, statSync } = require('node:fs');
const { join } = require('node:path');
const { process: compile } = require('../support/swc-transform');

require.extensions['.ts'] = (module, path) => module._compile(compile(readFileSync(path, 'utf8'), path).code, path);

if (process.send) require('./worker.ts');
else {
  installPeers();
  require('./bench.ts');
}

/** The peers are a package of their own, which the product knows nothing of. */
function installPeers() {
  if (process.argv.includes('--help')) return;
  // has no peers
  if (/ --only[ =]gateway( |$)/.test(process.argv.join(' '))) return;
  const installed = join(__dirname, 'node_modules/.package-lock.json');
  const lock = join(__dirname, 'package-lock.json');
  if (existsSync(installed) && statSync(installed).mtimeMs >= statSync(lock).mtimeMs) return;
  process.stderr.write('Installing the peers under test/bench …\n');
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: __dirname,
    stdio: ['ignore', 2, 2],
  });
  if (status !== 0) process.exit(status ?? 1);
}
