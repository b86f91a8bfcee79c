const { availableParallelism } = require('node:os');

/** @type {import('jest').Config} */
module.exports = {
  rootDir: '.',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.spec.ts'],
  testPathIgnorePatterns: [
    '/node_modules/',
    '<rootDir>/test/crash/',
    '<rootDir>/test/bench/',
    '<rootDir>/test/fixtures/',
    // runs everything under load many times over: npm run test:planted
    '<rootDir>/test/kernel/planted-bugs.spec.ts',
  ],
  testEnvironment: 'node',
  globalSetup: '<rootDir>/test/support/global-setup.js',
  globalTeardown: '<rootDir>/test/support/global-teardown.js',
  // Nest 12 is ESM only and Jest on Node 20 cannot require(esm): one transform turns everything into CommonJS.
  transform: { '^.+\\.(ts|js|mjs)$': '<rootDir>/test/support/swc-transform.js' },
  transformIgnorePatterns: [],
  // More than there are cores: tests mostly wait, for Postgres, for processes, and for time to pass.
  maxWorkers: Math.ceil(availableParallelism() * 1.5),
  testTimeout: 30_000,
};
