require('../../support/typescript');
const startPostgres = require('../../support/global-setup');
const stopPostgres = require('../../support/global-teardown');
const { main } = require('./run.ts');

startPostgres()
  .then(() => main().finally(stopPostgres))
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  });
