require('../support/typescript');
require('./crash.ts');
