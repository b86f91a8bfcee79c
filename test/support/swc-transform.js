const { createHash } = require('node:crypto');
const { transformSync } = require('@swc/core');
const { version } = require('@swc/core/package.json');

const typescript = {
  parser: { syntax: 'typescript', decorators: true },
  transform: { legacyDecorator: true, decoratorMetadata: true },
  target: 'es2022',
  keepClassNames: true,
};
const javascript = { parser: { syntax: 'ecmascript' }, target: 'es2022' };

/** CommonJS files of packages are passed through; ours and the ESM ones of packages are compiled. */
function isEsm(path, source) {
  return path.endsWith('.mjs') || /^\s*(import|export)\b/m.test(source) || source.includes('import.meta');
}

module.exports = {
  getCacheKey: (source, path, { config }) =>
    createHash('sha1')
      .update(version)
      .update(__filename)
      .update(config.rootDir)
      .update(path)
      .update(source)
      .digest('hex'),
  process(source, path) {
    const ours = path.endsWith('.ts');
    if (!ours && !isEsm(path, source)) return { code: source };
    return transformSync(source, {
      filename: path,
      jsc: ours ? typescript : javascript,
      module: { type: 'commonjs', ignoreDynamic: false },
      sourceMaps: 'inline',
      swcrc: false,
      configFile: false,
    });
  },
};
