require('../support/typescript');
require('./fuzz.ts');
