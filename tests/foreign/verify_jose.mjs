// Verifies a license by the published key set: node verify_jose.mjs JWKS_URL TOKEN ISSUER AUDIENCE
// Prints the claims as JSON; exits with 1 when the license is refused.
import { createRemoteJWKSet, jwtVerify } from "jose";

const [jwksUrl, token, issuer, audience] = process.argv.slice(2);

try {
  const { payload } = await jwtVerify(token, createRemoteJWKSet(new URL(jwksUrl)), {
    issuer,
    audience,
    algorithms: ["EdDSA"],
    typ: "license+jwt",
    requiredClaims: ["sub", "iat", "nbf", "exp", "customer_id", "features", "paid_until"],
  });
  if (payload.sub !== payload.customer_id) {
    throw new Error("sub and customer_id differ");
  }
  console.log(JSON.stringify(payload));
} catch (error) {
  console.error(`refused: ${error.message}`);
  process.exitCode = 1;
}
