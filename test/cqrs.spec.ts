import 'reflect-metadata';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { DynamicModule, Provider, Type } from '@nestjs/common';
import { Command, Query } from '@nestjs/cqrs';
import { AppModule } from '../src/app.module';
import { readConfig } from '../src/config/config';

type Message = Type<Command<unknown> | Query<unknown>>;

/** What `@CommandHandler` and `@QueryHandler` leave on a class; Nest does not export the names. */
const handlerKeys = ['__commandHandler__', '__queryHandler__'];

const source = join(__dirname, '../src');

/** Every class that some module of the app provides, once a module. */
function providers(root: DynamicModule): Type[] {
  const seen = new Set<unknown>();
  const found: Type[] = [];
  const visit = (module: Type | DynamicModule | { forwardRef: () => Type }): void => {
    if ('forwardRef' in module) return visit(module.forwardRef());
    if (seen.has(module)) return;
    seen.add(module);
    const dynamic = 'module' in module ? module : undefined;
    const type = dynamic ? dynamic.module : (module as Type);
    const of = <T>(name: 'imports' | 'providers') => [
      ...((Reflect.getMetadata(name, type) as T[] | undefined) ?? []),
      ...((dynamic?.[name] as T[] | undefined) ?? []),
    ];
    for (const provider of of<Provider>('providers')) {
      if (typeof provider === 'function') found.push(provider);
      else if ('useClass' in provider) found.push(provider.useClass);
    }
    for (const imported of of<Type | DynamicModule>('imports')) if (!(imported instanceof Promise)) visit(imported);
  };
  visit(root);
  return found;
}

/** The handlers of each command and query that has any. */
function handlers(): Map<Message, string[]> {
  const config = readConfig({ NODE_ENV: 'test' });
  const app = AppModule.with({ config, secret: 'x'.repeat(32), databaseUrl: 'postgres://localhost/none' });
  const found = new Map<Message, string[]>();
  for (const provider of providers(app)) {
    const message = handlerKeys.map((key) => Reflect.getMetadata(key, provider) as Message | undefined).find(Boolean);
    if (message) found.set(message, [...(found.get(message) ?? []), provider.name]);
  }
  return found;
}

/** Every command and query class that a file of ours exports. */
function messages(): Message[] {
  const files = readdirSync(source, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .filter((file) => /extends (Command|Query)</.test(readFileSync(join(source, file), 'utf8')));
  return files.flatMap((file) =>
    Object.values(jest.requireActual<Record<string, unknown>>(join(source, file))).filter(
      (exported): exported is Message =>
        typeof exported === 'function' &&
        (exported.prototype instanceof Command || exported.prototype instanceof Query),
    ),
  );
}

// Nest lets the last of two handlers win and only warns; a message without one fails when it is first sent.
describe('commands and queries', () => {
  const found = handlers();
  const all = messages();

  it('have exactly one handler each', () => {
    expect(all.length).toBeGreaterThan(10);
    expect(Object.fromEntries(all.map(({ name }) => [name, 1]))).toEqual(
      Object.fromEntries(all.map((message) => [message.name, found.get(message)?.length ?? 0])),
    );
  });

  it('are all exported, so that the sentence above speaks of all', () => {
    const known = new Set(all);
    expect([...found.keys()].filter((message) => !known.has(message)).map(({ name }) => name)).toEqual([]);
  });

  it('have names that no other has', () => {
    const names = all.map(({ name }) => name);
    expect(names.filter((name, nth) => names.indexOf(name) !== nth)).toEqual([]);
  });
});
