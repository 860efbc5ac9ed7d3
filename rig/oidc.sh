#!/bin/bash
# oidc.sh start|stop   an OpenID provider (npm oidc-provider) on $OIDC_PORT: client rig/rigsecret, its page lets in any user; and the Python OAuth client that
# document 3 uses (requests-oauthlib), in $VENV
. "$(dirname "$0")/lib.sh"
OIDC_PORT=${OIDC_PORT:-19400}; OIDC_REDIRECT=${OIDC_REDIRECT:-http://127.0.0.1:19499/auth/oidc/callback}; D=$RUN/oidc
case ${1:-start} in
 start) [ -d "$VENV"/lib/python3*/site-packages/requests_oauthlib ] || pip_get requests-oauthlib==2.0.0
  [ -d "$NPM/node_modules/oidc-provider" ] || npm_get oidc-provider@9.13.3
  mkdir -p "$D"; ln -sfn "$NPM/node_modules" "$D/node_modules"
  cat >"$D/op.mjs" <<'P'
import Provider from 'oidc-provider';
const [port, redirect] = [Number(process.argv[2]), process.argv[3]], issuer = `http://127.0.0.1:${port}`;
const op = new Provider(issuer, {
  clients: [{client_id: 'rig', client_secret: 'rigsecret', redirect_uris: [redirect], grant_types: ['authorization_code', 'refresh_token'], response_types: ['code'], application_type: 'native'}],
  findAccount: (ctx, id) => ({accountId: id, claims: async () => ({sub: id, email: `${id}@example.test`, preferred_username: id})}),
  claims: {openid: ['sub'], email: ['email'], profile: ['preferred_username']}, scopes: ['openid', 'offline_access', 'email', 'profile'],
  features: {devInteractions: {enabled: true}}, cookies: {keys: ['rig']}, conformIdTokenClaims: false, pkce: {required: () => true},
});
op.listen(port, '127.0.0.1');
P
  spawn oidc node "$D/op.mjs" "$OIDC_PORT" "$OIDC_REDIRECT"; wait_tcp "$OIDC_PORT";;
 stop) stop oidc;;
esac
