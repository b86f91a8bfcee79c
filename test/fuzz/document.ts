import type { OpenAPIObject } from '@nestjs/swagger';
import type { Json } from '../support/api';

export type Schema = Record<string, Json>;

export interface Parameter {
  readonly name: string;
  readonly in: string;
  readonly required: boolean;
  readonly schema: Schema;
}

export interface Operation {
  readonly id: string;
  /** `GET /v1/orders/{id}` */
  readonly name: string;
  readonly method: string;
  readonly path: string;
  readonly secured: boolean;
  readonly parameters: readonly Parameter[];
  /** Schema by content type; empty for an operation without a body. */
  readonly bodies: ReadonlyMap<string, Schema>;
  /** Bodies that are said to work as they stand. */
  readonly examples: readonly Json[];
  /** Schema by content type, by status: `200`, `4XX`, `default`. */
  readonly responses: ReadonlyMap<string, ReadonlyMap<string, Schema>>;
}

/** What the OpenAPI document of the running app says: the fuzzer knows no operation by itself. */
export class ApiDocument {
  readonly operations: readonly Operation[];

  constructor(private readonly document: OpenAPIObject) {
    this.operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.entries(item as Record<string, Schema>).map(([method, operation]) => {
        const content = (part: Schema | undefined) =>
          new Map(
            Object.entries((this.resolve(part ?? {})['content'] ?? {}) as Record<string, Schema>).map(
              ([type, { schema }]) => [type, (schema ?? {}) as Schema] as const,
            ),
          );
        return {
          id: operation['operationId'] as string,
          name: `${method.toUpperCase()} ${path}`,
          method: method.toUpperCase(),
          path,
          secured: ((operation['security'] ?? []) as unknown[]).length > 0,
          parameters: ((operation['parameters'] ?? []) as Parameter[]).map((parameter) => ({
            ...parameter,
            required: parameter.required ?? false,
            schema: parameter.schema ?? {},
          })),
          examples: Object.values(
            (this.resolve((operation['requestBody'] ?? {}) as Schema)['content'] ?? {}) as Record<string, Schema>,
          ).flatMap(({ examples }) =>
            Object.values((examples ?? {}) as Record<string, Schema>).map(({ value }) => value),
          ),
          bodies: content(operation['requestBody'] as Schema | undefined),
          responses: new Map(
            Object.entries(operation['responses'] as Record<string, Schema>).map(
              ([status, response]) => [status, content(response)] as const,
            ),
          ),
        };
      }),
    );
  }

  /** Follows references, and merges what `allOf` combines. */
  resolve(schema: Schema): Schema {
    const reference = schema['$ref'] as string | undefined;
    if (reference !== undefined) {
      const found = reference
        .slice(2)
        .split('/')
        .reduce((part: Json, name) => part?.[name], this.document as Json) as Schema | undefined;
      if (!found) throw new Error(`The document has no ${reference}`);
      return this.resolve(found);
    }
    if (!Array.isArray(schema['allOf'])) return schema;
    const { allOf, ...own } = schema;
    return Object.assign({}, ...(allOf as Schema[]).map((part) => this.resolve(part)), own) as Schema;
  }

  /** Names of the parameters that identify a resource, by kind: `order` → `id`, `dead-letter` → subscription, position. */
  keys(): Map<string, readonly string[]> {
    const keys = new Map<string, readonly string[]>();
    for (const { path } of this.operations) {
      for (const { kind, names } of placesOf(path)) if (names.length > 0) keys.set(kind, names);
    }
    return keys;
  }
}

export function isDocumented({ responses }: Operation, status: number): boolean {
  return responses.has(String(status)) || responses.has(`${Math.floor(status / 100)}XX`) || responses.has('default');
}

/** The documented body of a status, if there is one. */
export function documentedBody(operation: Operation, status: number): ReadonlyMap<string, Schema> | undefined {
  return operation.responses.get(String(status)) ?? operation.responses.get(`${Math.floor(status / 100)}XX`);
}

/** `/v1/orders/{id}/lines/{lineId}` → order (id), line (lineId). */
export function placesOf(path: string): { readonly kind: string; readonly names: readonly string[] }[] {
  const places: { kind: string; names: string[] }[] = [];
  for (const segment of path.split('/').filter(Boolean)) {
    const name = /^\{(\w+)\}$/.exec(segment)?.[1];
    if (name === undefined) places.push({ kind: segment.replace(/s$/, ''), names: [] });
    else places.at(-1)?.names.push(name);
  }
  return places;
}

/** `productId` → product, `apiKeyId` → api-key; undefined for other members. */
export function kindOfReference(member: string): string | undefined {
  const kind = /^(\w+)Id$/.exec(member)?.[1];
  return kind?.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);
}
