require('../support/typescript');
require('./run.ts');
