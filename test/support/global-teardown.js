const { rmSync } = require('node:fs');

module.exports = async () => {
  const { postgres, directory } = globalThis.testPostgres;
  await postgres.stop();
  rmSync(directory, { recursive: true, force: true });
};
