// A certified OpenID provider on loopback, for the suite in tests/gateway/oidc_provider: it issues real tokens by its own
// rules. It prints one line of JSON with its address when it serves, and ends when its standard input does. A line on
// standard input makes it sign with new keys, the former ones still published; it answers with a line of its own.
//
// Arguments: the port, 0 for a free one; and a file that keeps its keys over a restart.

import { Console } from 'node:console';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createInterface } from 'node:readline';

import Provider from 'oidc-provider';

// Standard output is for that one line.
globalThis.console = new Console(process.stderr, process.stderr);

// The APIs that tokens can be asked for (RFC 8707), each with the algorithm that its tokens are signed with.
const apis = new Map([
  ['https://rs256.api.example', 'RS256'],
  ['https://ps256.api.example', 'PS256'],
  ['https://es256.api.example', 'ES256'],
  ['https://eddsa.api.example', 'EdDSA'],
  ['https://another.api.example', 'RS256'],
]);

// The API whose tokens are opaque: who gets one asks the provider about it (RFC 7662).
const opaqueApi = 'https://opaque.api.example';

const scopes = ['read:orders', 'write:orders'];

function key(kid, alg, type, options) {
  const { privateKey } = generateKeyPairSync(type, options);
  return { ...privateKey.export({ format: 'jwk' }), kid, alg, use: 'sig' };
}

// The first one of an algorithm signs.
function newKeys(generation) {
  return [
    key(`rs-${generation}`, 'RS256', 'rsa', { modulusLength: 2048 }),
    key(`ps-${generation}`, 'PS256', 'rsa', { modulusLength: 2048 }),
    key(`es-${generation}`, 'ES256', 'ec', { namedCurve: 'P-256' }),
    key(`ed-${generation}`, 'EdDSA', 'ed25519', {}),
  ];
}

const [port, keyFile] = process.argv.slice(2);
let keys = keyFile && existsSync(keyFile) ? JSON.parse(readFileSync(keyFile)) : newKeys(0);

function keep() {
  if (keyFile) writeFileSync(keyFile, JSON.stringify(keys), { mode: 0o600 });
}
keep();

const clients = [
  {
    client_id: 'machine',
    client_secret: 'the secret of machine',
    grant_types: ['client_credentials'],
    response_types: [],
    redirect_uris: [],
    token_endpoint_auth_method: 'client_secret_post',
    scope: scopes.join(' '),
  },
  {
    client_id: 'gateway',
    client_secret: 'the: secret of %gateway',
    grant_types: [],
    response_types: [],
    redirect_uris: [],
    token_endpoint_auth_method: 'client_secret_basic',
  },
  {
    client_id: 'web',
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: ['http://127.0.0.1/callback'],
    token_endpoint_auth_method: 'none',
  },
];

// Where browsers see the gateway, if it logs them in.
const origin = process.env.GATEWAY_ORIGIN;
if (origin) {
  clients.push({
    client_id: 'browser',
    client_secret: "the secret of the browser's client",
    application_type: 'native',
    grant_types: ['authorization_code', 'refresh_token'],
    response_types: ['code'],
    redirect_uris: [`${origin}/auth/callback`],
    post_logout_redirect_uris: [`${origin}/`],
    backchannel_logout_uri: `${origin}/auth/backchannel-logout`,
    backchannel_logout_session_required: true,
    token_endpoint_auth_method: 'client_secret_basic',
  });
}
const isBrowser = (client) => client?.clientId === 'browser';

const server = createServer();
server.listen(Number(port ?? 0), '127.0.0.1');
await once(server, 'listening');
const issuer = `http://127.0.0.1:${server.address().port}`;

const configuration = {
  clients,
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'none'],
  cookies: { keys: ['signs the cookies of this one run'] },
  enabledJWA: { idTokenSigningAlgValues: ['RS256', 'PS256', 'ES256', 'EdDSA'] },
  features: {
    backchannelLogout: { enabled: true },
    clientCredentials: { enabled: true },
    dPoP: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => undefined,
      useGrantedResource: (ctx) => isBrowser(ctx.oidc.client),
      getResourceServerInfo: (_ctx, resource) => ({
        audience: resource,
        scope: scopes.join(' '),
        ...(resource === opaqueApi
          ? { accessTokenFormat: 'opaque' }
          : { accessTokenFormat: 'jwt', jwt: { sign: { alg: apis.get(resource) } } }),
      }),
    },
  },
  findAccount: (_ctx, sub) => ({
    accountId: sub,
    claims: () => ({ sub, name: 'Ada', email: 'ada@example.com', email_verified: true }),
  }),
  // Logout tokens go to the gateway, which is on this machine: by itself the provider calls nobody there.
  fetch: (url, { dispatcher, ...options }) => fetch(url, options),
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  ...(origin && { ttl: { AccessToken: 10 } }),
  scopes: ['openid', 'offline_access', ...scopes],
};

// Codes and tokens are remembered outside of the provider: they outlive it.
function serve() {
  return new Provider(issuer, { ...configuration, jwks: { keys } }).callback();
}

let answer = serve();
server.on('request', (request, response) => answer(request, response));
createInterface({ input: process.stdin })
  .on('line', () => {
    keys = [...newKeys(keys.length), ...keys];
    keep();
    answer = serve();
    process.stdout.write('rotated\n');
  })
  .on('close', () => process.exit(0));
process.stdout.write(`${JSON.stringify({ issuer })}\n`);
