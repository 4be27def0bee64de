// The npm package `oidc-provider` (certified OpenID Connect and OAuth 2.0 server) for the tests of OAuth sources.
// Settings come on standard input; one line of JSON on standard output tells the issuer; it lives until it is
// told to end. All keys are made by this run.
//
// Two things are not the package's own, and are written out below for that reason:
// - FEDERATION: the package takes an assertion only from the client itself (iss == sub == client_id). A pod's
//   token comes from the cluster and names a service account. Servers that federate (Entra ID, Keycloak 26.4)
//   verify it against the cluster's keys and a trust that somebody registered. This does the same before
//   the package's own authentication, which then gets an assertion by the broker's key.
// - EXCHANGE: the package has no RFC 8693; its documentation names it as the example of a custom grant type.
//   Client authentication, resources, scopes, tokens, introspection and revocation stay the package's.
import { readFileSync } from 'node:fs';
import https from 'node:https';
import { createRequire } from 'node:module';
import { stringify, parse } from 'node:querystring';
import { pathToFileURL } from 'node:url';

const settings = JSON.parse(readFileSync(0));
const installed = createRequire(pathToFileURL(`${settings.modules}/`));
const load = (name) => import(pathToFileURL(installed.resolve(name)));
const { Provider, errors } = await load('oidc-provider');
const { SignJWT, createLocalJWKSet, decodeJwt, exportJWK, generateKeyPair, jwtVerify } = await load('jose');

const TYPES = 'urn:ietf:params:oauth:token-type:';
const ASSERTION = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const EXCHANGE = 'urn:ietf:params:oauth:grant-type:token-exchange';

// `cluster`: issuer, jwks, audience, actorAudience. `resources`: scope and accessTokenTTL by URI.
const { cluster, resources } = settings;
const clusterKeys = createLocalJWKSet(cluster.jwks);
const ofThePod = (token, audience, subject) =>
  jwtVerify(token, clusterKeys, { issuer: cluster.issuer, audience, subject, algorithms: ['RS256', 'ES256'] });

const server = https.createServer({
  cert: readFileSync(settings.certificate),
  key: readFileSync(settings.key),
});
await new Promise((listening) => server.listen(0, '127.0.0.1', listening));
const issuer = `https://localhost:${server.address().port}`;

const own = await generateKeyPair('RS256', { extractable: true });
const broker = await generateKeyPair('ES256', { extractable: true });
const brokerJwk = { ...(await exportJWK(broker.publicKey)), kid: 'broker', use: 'sig', alg: 'ES256' };

function resourceServer(resource) {
  if (!Object.hasOwn(resources, resource)) throw new errors.InvalidTarget('unknown resource');
  return { audience: resource, accessTokenFormat: 'jwt', ...resources[resource] };
}

const provider = new Provider(issuer, {
  clients: settings.clients.map((client) => ({
    redirect_uris: [],
    response_types: [],
    ...client,
    ...(client.federated_subject ? { jwks: { keys: [brokerJwk] } } : {}),
  })),
  extraClientMetadata: { properties: ['federated_subject'] },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  jwks: { keys: [{ ...(await exportJWK(own.privateKey)), kid: 'own', use: 'sig', alg: 'RS256' }] },
  scopes: ['read', 'write'],
  extraTokenClaims: (ctx) => ctx.exchanged,
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    // Anyone may ask, as a resource server would: the tests look at every client's tokens.
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      // No `resource`: an opaque token. With one: a JWT for it.
      defaultResource: () => undefined,
      getResourceServerInfo: (ctx, resource) => resourceServer(resource),
    },
  },
  ttl: { ClientCredentials: (ctx, token) => token.resourceServer?.accessTokenTTL ?? 600 },
});

// --- FEDERATION --------------------------------------------------------------------------------------

provider.use(async (ctx, next) => {
  if (ctx.method !== 'POST') return next();
  const chunks = [];
  for await (const chunk of ctx.req) chunks.push(chunk);
  const form = parse(Buffer.concat(chunks).toString());
  ctx.req.body = form;
  const client = form.client_id && (await provider.Client.find(form.client_id));
  if (!client?.federated_subject || form.client_assertion_type !== ASSERTION) return next();
  try {
    await ofThePod(form.client_assertion, cluster.audience, client.federated_subject);
  } catch (fault) {
    ctx.status = 401;
    ctx.body = { error: 'invalid_client', error_description: `federated assertion refused: ${fault.message}` };
    return undefined;
  }
  form.client_assertion = await new SignJWT({ jti: crypto.randomUUID() })
    .setProtectedHeader({ alg: 'ES256', kid: 'broker' })
    .setIssuer(client.clientId).setSubject(client.clientId).setAudience(issuer)
    .setIssuedAt().setExpirationTime('30s').sign(broker.privateKey);
  ctx.req.body = stringify(form);
  return next();
});

// --- EXCHANGE ----------------------------------------------------------------------------------------

async function pod(token, type, audience, what) {
  if (type !== `${TYPES}jwt`) throw new errors.InvalidRequest(`${what}_token_type is not supported`);
  try {
    return (await ofThePod(token, audience)).payload;
  } catch (fault) {
    // RFC 8693 §2.2.2: a token that is not acceptable is an invalid request.
    throw new errors.InvalidRequest(`${what}_token is not acceptable: ${fault.message}`);
  }
}

async function exchange(ctx) {
  const { params, client } = ctx.oidc;
  const issued = params.requested_token_type ?? `${TYPES}access_token`;
  if (issued !== `${TYPES}access_token` && !(issued === `${TYPES}jwt` && params.resource)) {
    throw new errors.InvalidRequest('requested_token_type is not supported');
  }
  const subject = await pod(params.subject_token, params.subject_token_type, cluster.audience, 'subject');
  ctx.exchanged = { pod: subject.sub };
  if (params.actor_token) {
    const actor = await pod(params.actor_token, params.actor_token_type, cluster.actorAudience, 'actor');
    ctx.exchanged.act = { sub: actor.sub };
  }
  const token = new provider.ClientCredentials({ client, scope: params.scope });
  if (params.resource) {
    token.resourceServer = new provider.ResourceServer(params.resource, resourceServer(params.resource));
  }
  ctx.body = {
    access_token: await token.save(),
    issued_token_type: issued,
    token_type: token.tokenType,
    expires_in: token.expiration,
    scope: token.scope,
  };
}

const parameters = [
  ...['subject_token', 'subject_token_type', 'actor_token', 'actor_token_type'],
  ...['requested_token_type', 'audience', 'resource', 'scope'],
];
provider.registerGrantType(EXCHANGE, exchange, parameters, ['audience', 'resource']);

server.on('request', provider.callback());
console.log(JSON.stringify({ issuer }));
