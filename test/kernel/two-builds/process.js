const { assertPlanted } = require('../../support/typescript');
require('./process.ts');
assertPlanted();
