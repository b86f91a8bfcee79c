import type { INestApplication } from '@nestjs/common';
import { DocumentBuilder, type OpenAPIObject, SwaggerModule } from '@nestjs/swagger';
import { Problem } from '../kernel/http/problem';

const description = `
An event-sourced order platform. **To try it out:** press *Authorize*, sign in with the e-mail and password that the
log of the first start names, then \`POST /v1/orders\` with the example as it stands.

Errors are \`application/problem+json\` (RFC 9457); \`code\` is for programs, \`detail\` for people.
`;

export function openApi(app: INestApplication): OpenAPIObject {
  const config = new DocumentBuilder()
    .setTitle('Orderloom')
    .setDescription(description)
    .setVersion('1')
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
  return SwaggerModule.createDocument(app, config, {
    extraModels: [Problem],
    operationIdFactory: (_controller, method) => method,
  });
}

/** Swagger UI at /docs with local assets, the document at /openapi.json. */
export function serveDocs(app: INestApplication, document: OpenAPIObject): void {
  SwaggerModule.setup('docs', app, document, {
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: 'Orderloom',
    swaggerOptions: {
      persistAuthorization: true,
      displayRequestDuration: true,
      tryItOutEnabled: true,
      docExpansion: 'list',
    },
  });
}
