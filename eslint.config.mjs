import { defineConfig, globalIgnores } from 'eslint/config';
import tseslint from 'typescript-eslint';

export default defineConfig(
  // The fixtures break rules on purpose.
  globalIgnores(['dist/', 'coverage/', 'data/', 'test/fixtures/']),
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.recommendedTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    linterOptions: { reportUnusedDisableDirectives: 'error' },
    rules: {
      eqeqeq: ['error', 'always', { null: 'ignore' }], // `== null` says "null or undefined"

      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      // A `default` counts: projections skip events that are not theirs, and `unreachable(x: never)` in a default
      // leaves the check to the compiler.
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/no-unused-vars': [
        'error',
        {
          argsIgnorePattern: '^_',
          varsIgnorePattern: '^_',
          caughtErrorsIgnorePattern: '^_',
          destructuredArrayIgnorePattern: '^_',
          ignoreRestSiblings: true, // `const { secret, ...rest }` is how to leave a member out
        },
      ],

      // Nest reads constructor types at run time (emitDecoratorMetadata): turned into `import type` they would be
      // gone. Where a type import is needed, the compiler says so (isolatedModules).
      '@typescript-eslint/consistent-type-imports': 'off',
      // `async` on a method that Nest, TypeORM or a port of ours declares as a promise turns a throw into a rejection.
      '@typescript-eslint/require-await': 'off',
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // Answers over HTTP and rows from raw SQL are `any`; a wrong guess about them fails the test, which is its job.
      '@typescript-eslint/no-unsafe-argument': 'off',
      '@typescript-eslint/no-unsafe-assignment': 'off',
      '@typescript-eslint/no-unsafe-call': 'off',
      '@typescript-eslint/no-unsafe-member-access': 'off',
      '@typescript-eslint/no-unsafe-return': 'off',
      '@typescript-eslint/prefer-promise-reject-errors': 'off', // also what others may do wrong is tried
      '@typescript-eslint/only-throw-error': 'off',
      '@typescript-eslint/unbound-method': 'off', // expect(port.charge).toHaveBeenCalled()
    },
  },
);
