import type { OpenAPIObject } from '@nestjs/swagger';
import type { Config } from '../config/config';
import { scopes } from '../kernel/http/scopes';
import type { OidcProvider } from './authentication/oidc-provider';

type SecurityScheme = NonNullable<NonNullable<OpenAPIObject['components']>['securitySchemes']>[string];

/** Name of the security scheme. */
const oidc = 'oidc';

/** The scopes of OpenID Connect, and what they make the provider tell. */
const standardScopes = { openid: 'Sign in', profile: 'Your name', email: 'Your e-mail address' };

/** An expression of Swagger UI's script: the page may be reached by several addresses. */
const redirectUrl = `new URL('oauth2-redirect.html', document.querySelector('script[src$="swagger-ui-init.js"]').src).href`;

/** What Swagger UI needs to sign in with the identity provider, as a public client with PKCE. */
export function oidcSwaggerOptions({ OIDC_SWAGGER_CLIENT_ID }: Config) {
  return {
    // functions are written into the script as their text
    oauth2RedirectUrl: Object.assign(() => '', { toString: () => redirectUrl }),
    initOAuth: {
      ...(OIDC_SWAGGER_CLIENT_ID && { clientId: OIDC_SWAGGER_CLIENT_ID }),
      scopes: Object.keys(standardScopes),
      usePkceWithAuthorizationCodeGrant: true,
    },
  };
}

/** The same document, in which an access token of the provider will do wherever one of ours does. */
export function withOidc(document: OpenAPIObject, provider: OidcProvider): OpenAPIObject {
  for (const item of Object.values(document.paths)) {
    for (const { security } of Object.values(item as Record<string, { security?: Record<string, string[]>[] }>)) {
      if (security && !security.some((each) => oidc in each)) security.push({ [oidc]: [] });
    }
  }
  const { components } = document;
  const securitySchemes = { ...components?.securitySchemes, [oidc]: schemeOf(provider) };
  return { ...document, components: { ...components, securitySchemes } };
}

/** The provider's addresses are in its discovery document, which the client reads itself while we have not. */
function schemeOf({ issuer, audience, authorizationEndpoint, tokenEndpoint }: OidcProvider): SecurityScheme {
  const description = `Sign in with ${issuer}`;
  if (!authorizationEndpoint || !tokenEndpoint) {
    const openIdConnectUrl = `${issuer.replace(/\/$/, '')}/.well-known/openid-configuration`;
    return { type: 'openIdConnect', openIdConnectUrl, description };
  }
  // Auth0 issues a token for the API only when it is named; others ignore it. Not one of the options of Swagger UI, which
  // would send it to our own sign-in as well.
  const authorizationUrl = new URL(authorizationEndpoint);
  authorizationUrl.searchParams.set('audience', audience);
  const authorizationCode = {
    authorizationUrl: authorizationUrl.href,
    tokenUrl: tokenEndpoint,
    scopes: { ...standardScopes, ...scopes },
  };
  return { type: 'oauth2', flows: { authorizationCode }, description };
}
