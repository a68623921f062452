"""Verifies a license by the published key set: python verify_pyjwt.py JWKS_URL TOKEN ISSUER AUDIENCE

Prints the claims as JSON; exits with 1 when the license is refused.
"""

import json
import sys

import jwt


def verify(jwks_url: str, token: str, issuer: str, audience: str) -> dict:
    # PyJWT leaves `typ` to the caller. Without this check any token signed with the same key would pass.
    typ = str(jwt.get_unverified_header(token).get("typ")).lower().removeprefix("application/")
    if typ != "license+jwt":
        raise jwt.InvalidTokenError("not a license")
    claims = jwt.decode(
        token,
        jwt.PyJWKClient(jwks_url).get_signing_key_from_jwt(token),
        algorithms=["EdDSA"],
        issuer=issuer,
        audience=audience,
        options={"require": ["iss", "aud", "sub", "iat", "nbf", "exp", "customer_id", "features", "paid_until"]},
    )
    if claims["sub"] != claims["customer_id"]:
        raise jwt.InvalidTokenError("sub and customer_id differ")
    return claims


if __name__ == "__main__":
    try:
        print(json.dumps(verify(*sys.argv[1:5])))
    except jwt.PyJWTError as error:
        sys.exit(f"refused: {error}")
