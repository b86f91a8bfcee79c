import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import type { Config } from '../config/config';
import { problemResponse } from '../kernel/http/api-problems';
import { type Access, accessExtension } from '../kernel/http/access';
import { Problem } from '../kernel/http/problem';
import { OidcProvider } from './authentication/oidc-provider';
import { oidcSwaggerOptions, withOidc } from './docs-sign-in';

const description = `
An event-sourced order platform. **To try it out:** press *Authorize*, sign in with the e-mail and password that the
log of the first start names, then \`POST /v1/orders\` with the example as it stands. When the sign-in has expired (401),
press *Authorize* and *Logout*, and sign in again.

Errors are \`application/problem+json\` (RFC 9457); \`code\` is for programs, \`detail\` for people.

Requests are limited for each account, and for each IP address that is not signed in. \`RateLimit\` on each response says
how many are left (\`r\`) and when there are new ones (\`t\`, in seconds); \`RateLimit-Policy\` says how many there are
(\`q\`) in a window (\`w\`, in seconds).
`;

type OperationObject = NonNullable<OpenAPIObject['paths'][string]['get']>;

export function openApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Orderloom')
    .setDescription(description)
    .setVersion('1')
    .addApiKey(
      { type: 'apiKey', in: 'header', name: 'X-API-Key', description: 'Of `POST /v1/api-keys`, within its scopes.' },
      'apiKey',
    )
    // last, because Swagger UI scrolls its dialog to the first field of the last scheme: to the user name
    .addOAuth2({ type: 'oauth2', flows: { password: { tokenUrl: '/v1/auth/token', scopes: {} } } }, 'password')
    .addTag('orders', 'From draft to delivery')
    .addTag('products', 'Catalogue and stock')
    .addTag('payments', 'Money taken and given back')
    .addTag('shipments', 'Parcels')
    .addTag('users', 'Accounts')
    .addTag('auth', 'Sign in')
    .addTag('operations', 'For whoever is on call')
    .addTag('health', 'Probes')
    .build();
  const document = SwaggerModule.createDocument(app, config, {
    extraModels: [Problem],
    operationIdFactory: (_controller, method) => method,
  });
  for (const [path, item] of Object.entries(document.paths)) {
    for (const [method, operation] of Object.entries(item as Record<string, OperationObject>)) {
      describeAccess(operation);
      describeLists(operation);
      if (method === 'get') describeCaching(operation, document);
      for (const status of gatewayStatuses(path, method, operation)) {
        operation.responses[status] ??= problemResponse(status);
      }
    }
  }
  return wholeNumbers(document);
}

/** Shows who may call it: as security requirements for tools, and in words. */
function describeAccess(operation: OperationObject): void {
  const { role, scope, own } = accessOf(operation);
  if (role === 'anyone') return;
  operation.security = scope ? [{ password: [] }, { apiKey: [] }] : [{ password: [] }];
  const who = role === 'customer' ? `whoever is signed in${own ? ', for what is their own' : ''}` : role;
  const limited = scope ? `An API key needs the scope \`${scope}\`.` : 'Not for API keys.';
  operation.description = [operation.description, `For ${who}. ${limited}`].filter(Boolean).join('\n\n');
}

/** A list in a query is one parameter, with commas. */
function describeLists({ parameters = [] }: OperationObject): void {
  for (const parameter of parameters) {
    const isList = 'schema' in parameter && parameter.in === 'query' && 'type' in (parameter.schema ?? {});
    if (isList && (parameter.schema as { type: string }).type === 'array')
      Object.assign(parameter, { style: 'form', explode: false });
  }
}

/** What has a version has an ETag, and can be asked for on condition that it has changed. */
function describeCaching({ responses, parameters = [] }: OperationObject, document: OpenAPIObject): void {
  const reference = JSON.stringify(responses['200'] ?? {}).match(
    /"schema":\{"\$ref":"#\/components\/schemas\/(\w+)"\}/,
  )?.[1];
  const schema = document.components?.schemas?.[reference ?? ''];
  if (!schema || !('properties' in schema) || !schema.properties?.['version']) return;
  parameters.push({
    name: 'If-None-Match',
    in: 'header',
    required: false,
    description: 'ETag of the copy that you have. While it is current, the response is 304, without a body.',
    schema: { type: 'string' },
  });
  responses['304'] = { description: 'Not modified: your copy is current' };
}

const accessOf = (operation: OperationObject) => (operation as unknown as Record<string, Access>)[accessExtension]!;

/** What the gateway may answer in place of any operation of that kind. */
function gatewayStatuses(path: string, method: string, operation: OperationObject): number[] {
  const statuses = [400, 408, 431, 503];
  // probes are not limited
  if (!/^\/(health|metrics)/.test(path)) statuses.push(429);
  if (path.includes('{')) statuses.push(404, 414);
  if (method !== 'get') statuses.push(413, 415);
  const signedIn = accessOf(operation).role !== 'anyone';
  // without a valid credential, or with one that is not enough
  if (signedIn) statuses.push(401, 403);
  // Idempotency-Key: in use by a request that still runs, or used for another request
  if (signedIn && method === 'post') statuses.push(409, 422);
  return statuses;
}

/** TypeScript has one type of numbers. Ours are whole ones, except those that state a format. */
function wholeNumbers<T>(schema: T): T {
  if (typeof schema !== 'object' || schema === null) return schema;
  const members = schema as Record<string, unknown>;
  if (members['type'] === 'number' && members['format'] === undefined) members['type'] = 'integer';
  for (const member of Object.values(members)) wholeNumbers(member);
  return schema;
}

/** Swagger UI at /docs with local assets, the document at /openapi.json. */
export function serveDocs(app: INestApplication, document: OpenAPIObject, config: Config): void {
  const provider = config.OIDC_ISSUER === undefined ? undefined : app.get(OidcProvider, { strict: false });
  SwaggerModule.setup('docs', app, document, {
    // for each request, since the provider may not have been reached yet
    ...(provider && { patchDocumentOnRequest: () => withOidc(document, provider) }),
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: 'Orderloom',
    swaggerOptions: {
      persistAuthorization: true,
      displayRequestDuration: true,
      tryItOutEnabled: true,
      docExpansion: 'list',
      ...(provider && oidcSwaggerOptions(config)),
    },
  });
}
