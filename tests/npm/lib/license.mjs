// Verifies a license as a vendor's product would: with a standard library and the published keys, and nothing else.

import { createRemoteJWKSet, decodeProtectedHeader, jwtVerify } from 'jose';

export const PROVIDER_PREFIX = /^(?:cus|sub|cs|in|pi|evt|price|prod)_/;

export async function verifyLicense(server, token, { currentDate } = {}) {
  const keys = createRemoteJWKSet(new URL('/.well-known/jwks.json', server.base));
  const { payload } = await jwtVerify(token, keys, {
    issuer: server.base,
    algorithms: ['EdDSA'],
    typ: 'license+jwt',
    requiredClaims: ['sub', 'aud', 'iat', 'nbf', 'exp', 'jti'],
    currentDate,
  });
  return { header: decodeProtectedHeader(token), claims: payload };
}
