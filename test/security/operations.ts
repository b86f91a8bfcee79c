import type { OpenAPIObject } from '@nestjs/swagger';
import { type Access, accessExtension } from '../../src/kernel/http/access';
import type { Json } from '../support/api';

type Schema = Record<string, Json>;

/** An operation of the API, as its OpenAPI document describes it. */
export interface Operation {
  /** `GET /v1/orders/{id}` */
  readonly name: string;
  readonly method: string;
  /** With `{id}` for what is to be filled in. */
  readonly path: string;
  /** Who may call it, as it declares. */
  readonly access: Access;
  readonly query: readonly string[];
  /** Its example: what Swagger UI would send. */
  readonly body: Schema | undefined;
  readonly responseMembers: readonly string[];
}

export function operationsOf(document: OpenAPIObject): Operation[] {
  const resolve = (schema: Schema | undefined): Schema => {
    const reference = (schema?.['$ref'] ?? schema?.['allOf']?.[0]?.$ref) as string | undefined;
    if (!reference) return schema ?? {};
    return document.components!.schemas![reference.split('/').at(-1)!] as Schema;
  };
  const example = (reference: Schema | undefined): unknown => {
    if (reference?.['example'] !== undefined) return reference['example'];
    const schema = resolve(reference);
    if (schema['example'] !== undefined) return schema['example'];
    if (schema['type'] === 'array') return [example(schema['items'])];
    if (!schema['properties']) return schema['type'] === 'boolean' ? false : undefined;
    return Object.fromEntries(
      Object.entries(schema['properties'] as Record<string, Schema>)
        .map(([name, member]) => [name, example(member)])
        .filter(([, value]) => value !== undefined && value !== null),
    );
  };
  const members = (reference: Schema | undefined): string[] => {
    const schema = resolve(reference);
    if (schema['type'] === 'array') return members(schema['items']);
    const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
    return 'page' in properties ? members(properties['data']) : Object.keys(properties);
  };
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods as Record<string, Schema>).map(([method, operation]) => {
      const content = resolve(operation['requestBody'])['content'] as Record<string, Schema> | undefined;
      const responses = Object.entries(operation['responses'] as Record<string, Schema>);
      const success = responses.find(([status]) => status.startsWith('2'))?.[1];
      const parameters = (operation['parameters'] ?? []) as { in: string; name: string }[];
      return {
        name: `${method.toUpperCase()} ${path}`,
        method: method.toUpperCase(),
        path,
        access: operation[accessExtension],
        query: parameters.filter((parameter) => parameter.in === 'query').map(({ name }) => name),
        body: content && (example(Object.values(content)[0]!['schema']) as Schema),
        responseMembers: members(Object.values((success?.['content'] ?? {}) as Record<string, Schema>)[0]?.['schema']),
      };
    }),
  );
}
