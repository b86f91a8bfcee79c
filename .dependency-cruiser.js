/**
 * The boundaries of the design, executed by `npm run lint` and by test/architecture.spec.ts, which also proves on
 * test/fixtures/boundary-violation that each rule still bites.
 *
 *   main, app.module,
 *   tools, replicas            composition root
 *   gateway → modules → kernel imports only go down; `config` is a leaf that all may read
 *
 * Paths are matched relative to the working directory, so the same rules serve the fixture.
 */

/**
 * Whose `contracts/` a module may import. A new module starts with an entry of `[]`; what stands here must stay
 * acyclic, or two modules can only be lifted out together.
 * @type {Record<string, string[]>}
 */
const uses = {
  orders: ['products', 'payments', 'shipping', 'users'],
  products: [],
  payments: [],
  shipping: [],
  users: [],
  operations: [],
  assistant: [],
};

const modules = Object.keys(uses).join('|');
// All that pure code may know of the kernel: types, the error that `decide` throws, and nothing that does I/O.
const pureKernel = '^src/kernel/(event-store/(decider|event)|personal-data/sealed|domain-error)[.]ts$';
// What Node is told to run.
const entrances = '^src/(main[.]ts$|tools/|replicas/(start|replica-process)[.]ts$)';
const packageOf = (name) => `(^|/)node_modules/${name}/`;
const forbid = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to });

/** @type {import('dependency-cruiser').IConfiguration} */
module.exports = {
  forbidden: [
    // ── floors ──────────────────────────────────────────────────────────────────────────────────────────────────
    forbid(
      'kernel-knows-no-shop',
      'The kernel is mechanism: it imports no module and no gateway.',
      { path: '^src/kernel/' },
      { path: '^src/(modules|gateway)/' },
    ),
    forbid(
      'modules-know-no-gateway',
      'Imports only go down. What modules need of HTTP (principal, roles) lives in src/kernel/http.',
      { path: '^src/modules/' },
      { path: '^src/gateway/' },
    ),
    forbid(
      'gateway-uses-contracts-only',
      'The front door speaks to modules over the buses, like any module.',
      { path: '^src/gateway/' },
      { path: '^src/modules/', pathNot: '^src/modules/[^/]+/contracts/' },
    ),
    forbid(
      'nothing-imports-the-root',
      'main, app.module, the tools and the replicas wire the rest together; nobody may depend on the wiring.',
      { path: '^src/(kernel|modules|gateway|config)/' },
      { path: '^src/([^/]+$|tools/|replicas/)' },
    ),
    forbid(
      'root-mounts-modules-only',
      'The composition root knows the door of a module (its *.module.ts), not its rooms.',
      { path: '^src/[^/]+$' },
      { path: '^src/modules/', pathNot: '^src/modules/[^/]+/([^/]+[.]module[.]ts$|contracts/)' },
    ),
    forbid(
      'tools-speak-http',
      'A command-line tool is a client of the API: what it can do, any client can do.',
      { path: '^src/tools/' },
      { path: '^src/(kernel|modules|gateway)/' },
    ),
    forbid(
      'config-is-a-leaf',
      'Every floor may read the configuration, so it may know none of them.',
      { path: '^src/config/' },
      { path: '^src/(kernel|modules|gateway)/' },
    ),

    // ── between modules ─────────────────────────────────────────────────────────────────────────────────────────
    forbid(
      'only-contracts-across-modules',
      'A module reaches another only through its contracts: no entity, service, repository or controller.',
      { path: '^src/modules/([^/]+)/' },
      { path: '^src/modules/', pathNot: ['^src/modules/$1/', '^src/modules/[^/]+/contracts/'] },
    ),
    ...Object.entries(uses).map(([name, used]) =>
      forbid(
        'only-modules-in-the-uses-table',
        'Say in the table at the top of .dependency-cruiser.js that the one module uses the other.',
        { path: `^src/modules/${name}/` },
        { path: '^src/modules/', pathNot: `^src/modules/(${[name, ...used].join('|')})/` },
      ),
    ),
    forbid(
      'every-module-is-in-the-uses-table',
      'A new module needs an entry in the table at the top of .dependency-cruiser.js, be it empty.',
      { path: '^src/[^/]+$' },
      { path: '^src/modules/', pathNot: `^src/modules/(${modules})/` },
    ),

    // ── inside a module ─────────────────────────────────────────────────────────────────────────────────────────
    forbid(
      'domain-is-pure',
      'decide and evolve know no framework, no database, no clock: only their own folder and the decider type.',
      { path: '^src/modules/([^/]+)/domain/' },
      { pathNot: ['^src/modules/$1/domain/', pureKernel] },
    ),
    forbid(
      'what-the-domain-uses-is-pure',
      'Else the domain would reach the world through the kernel.',
      { path: pureKernel },
      { pathNot: pureKernel },
    ),
    forbid(
      'contracts-are-leaves',
      'Plain typed classes, usable by a caller in another process: no kernel, no ORM, no other contracts.',
      { path: '^src/modules/([^/]+)/contracts/' },
      {
        pathNot: [
          '^src/modules/$1/contracts/',
          // an announcement is committed in the transaction of who asked for it: for those two, the same process (ADR 22)
          '^src/kernel/(event-store/(event-type|announcement)|personal-data/sealed)[.]ts$',
          packageOf('@nestjs/cqrs'),
        ],
      },
    ),

    // ── everywhere ──────────────────────────────────────────────────────────────────────────────────────────────
    forbid('no-circular', 'Files that need each other are one concept, or lack a third.', {}, { circular: true }),
    forbid(
      'no-unreachable-file',
      'Neither the application nor a tool loads this file: it is dead, or missing in a module.',
      { path: entrances },
      { path: '^src/', pathNot: entrances, reachable: false },
    ),
    forbid('no-unresolvable-import', 'It does not exist.', {}, { couldNotResolve: true }),
    forbid(
      'no-dev-dependency',
      'npm ci --omit=dev leaves it out of the image.',
      { path: '^(src|migrations)/' },
      { dependencyTypes: ['npm-dev'], dependencyTypesNot: ['type-only'], pathNot: packageOf('@types') },
    ),
    forbid(
      'no-undeclared-package',
      'It is there only because some other package brings it. Types vanish at compile time and may be borrowed.',
      { path: '^(src|migrations)/' },
      { dependencyTypes: ['npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    ),
    forbid(
      'migrations-stand-alone',
      'A migration is history: code that it imports would change under it.',
      { path: '^migrations/' },
      { path: '^src/' },
    ),
    forbid('product-knows-no-test', 'Test support is not shipped.', { path: '^(src|migrations)/' }, { path: '^test/' }),
  ],

  options: {
    doNotFollow: { path: 'node_modules' },
    // Also see `import type` and imports that TypeScript elides: a type from the wrong module couples just as well.
    tsPreCompilationDeps: true,
    // Nest 12 is ESM only and names its files in `exports`.
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
      mainFields: ['main', 'types'],
    },
  },
};

// For the test. Not enumerable, because dependency-cruiser refuses keys that it does not know.
Object.defineProperty(module.exports, 'uses', { value: uses });
