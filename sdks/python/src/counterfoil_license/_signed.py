"""Signed texts: licenses, status lists and key sets are compact JWS that differ in their type.

The header may say which of our keys signed, and nothing else; the signature itself is checked by PyJWT.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import jwt

from ._strict import Refused, decode, is_integer, is_object, parse_object


@dataclass(frozen=True)
class Kind:
    typ: str
    bytes_max: int


LICENSE = Kind("license+jwt", 16 * 1024)
STATUS_LIST = Kind("statuslist+jwt", 1024 * 1024)
KEY_SET = Kind("keyset+jwt", 64 * 1024)

_KEYS_MAX = 32
_ROOT_PREFIX = "cfroot1:"
_FORBIDDEN = ("jku", "jwk", "x5u", "x5c", "x5t", "x5t#S256", "crit", "b64", "zip")
_JWS = jwt.PyJWS(algorithms=["EdDSA"])

# The field of Ed25519, and the y of its eight points of small order: with such a key or R, signatures fit many messages.
_P = 2**255 - 19
_D = 37095705934669439343138083508754565189542113879843219016388785533085940283555
_SMALL_Y = {
    0,
    1,
    _P - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
}


@dataclass(frozen=True)
class Key:
    kid: str
    public: Any
    state: str = "active"
    nbf: int | None = None
    exp: int | None = None


@dataclass(frozen=True)
class KeySet:
    issuer: str
    issued_at: int
    expires_at: int
    serial: int
    keys: list[Key]


def open_signed(text: Any, kind: Kind, keys: list[Key]) -> tuple[bytes, Key]:
    """Reads a signed text of this kind: its payload, and the key that signed it."""
    if not isinstance(text, str):
        raise Refused("malformed")
    if len(text) > kind.bytes_max or len(text.encode(errors="surrogatepass")) > kind.bytes_max:
        raise Refused("too_large")
    parts = text.split(".")
    if len(parts) != 3:
        raise Refused("malformed")
    header_bytes, payload, signature = map(decode, parts)
    header = parse_object(header_bytes)
    if any(name in header for name in _FORBIDDEN):
        raise Refused("forbidden_header")
    if any(not isinstance(header.get(name, ""), str | None) for name in ("alg", "typ", "kid")):
        raise Refused("malformed")
    if header.get("alg") != "EdDSA":
        raise Refused("unsupported_algorithm")
    if (header.get("typ") or "").lower().removeprefix("application/") != kind.typ:
        raise Refused("wrong_type")
    key = next((key for key in keys if key.kid == header.get("kid")), None)
    if key is None:
        raise Refused("unknown_key")
    if len(signature) != 64 or not _is_usable_point(signature[:32]):
        raise Refused("bad_signature")
    try:
        _JWS.decode(text, key.public, algorithms=["EdDSA"])
    except jwt.PyJWTError:
        raise Refused("bad_signature") from None
    return payload, key


def keys_of_jwks(jwks: Any) -> list[Key]:
    """The keys of a plain JWKS (a dict, or its text); all of them sign whenever they like."""
    data = (jwks if isinstance(jwks, str) else json.dumps(jwks)).encode(errors="surrogatepass")
    try:
        entries = parse_object(data).get("keys")
    except Refused:
        raise Refused("key_set_invalid") from None
    if len(data) > KEY_SET.bytes_max or not isinstance(entries, list):
        raise Refused("key_set_invalid")
    keys = {key.kid: key for entry in entries if (key := _key_of(entry))}
    return _counted(list(keys.values()))


def open_key_set(text: Any, root: str, serial_seen: int | None) -> KeySet:
    """The key set that the pinned root has signed."""
    pinned = _root_key(root)
    try:
        payload = parse_object(open_signed(text, KEY_SET, [pinned])[0])
    except Refused:
        raise Refused("key_set_invalid") from None
    serial, entries = payload.get("serial"), payload.get("keys")
    complete = isinstance(payload.get("iss"), str) and all(is_integer(payload.get(name)) for name in ("iat", "exp", "serial"))
    if not complete or serial < 0 or not isinstance(entries, list):
        raise Refused("key_set_invalid")
    if serial_seen is not None and serial < serial_seen:
        raise Refused("key_set_rollback")
    keys: list[Key] = []
    for entry in entries:
        key = _key_of(entry)
        if key is None:
            continue
        state, nbf, exp = entry.get("state"), entry.get("nbf"), entry.get("exp")
        times = all(moment is None or is_integer(moment) for moment in (nbf, exp))
        known = state in ("active", "retired", "compromised")
        if not times or not known or (state == "retired" and exp is None) or any(key.kid == other.kid for other in keys):
            raise Refused("key_set_invalid")
        keys.append(Key(key.kid, key.public, state, nbf, exp))
    return KeySet(payload["iss"], payload["iat"], payload["exp"], serial, _counted(keys))


def check_key(key: Key, issued_at: int) -> None:
    """Whether what says that it was issued then can be believed of this key."""
    if key.state == "compromised":
        raise Refused("key_compromised")
    if key.nbf is not None and issued_at < key.nbf:
        raise Refused("key_not_active")
    if key.exp is not None and issued_at >= key.exp:
        raise Refused("key_retired")


def _root_key(root: str) -> Key:
    x = root.removeprefix(_ROOT_PREFIX) if root.startswith(_ROOT_PREFIX) else ""
    return _key_of({"kty": "OKP", "crv": "Ed25519", "x": x})


def _counted(keys: list[Key]) -> list[Key]:
    if not 0 < len(keys) <= _KEYS_MAX:
        raise Refused("key_set_invalid")
    return keys


def _key_of(jwk: Any) -> Key | None:
    """A key that verifies; nothing for a key of another kind, and a refusal for a broken or private one."""
    if not is_object(jwk) or jwk.get("kty") != "OKP" or jwk.get("crv") != "Ed25519":
        return None
    if jwk.get("alg", "EdDSA") not in ("EdDSA", "Ed25519") or jwk.get("use", "sig") != "sig":
        return None
    x = jwk.get("x")
    if "d" in jwk or not isinstance(x, str):
        raise Refused("key_set_invalid")
    try:
        data = decode(x)
    except Refused:
        raise Refused("key_set_invalid") from None
    if len(data) != 32 or not _is_usable_point(data) or not _is_point(data):
        raise Refused("key_set_invalid")
    digest = hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest()
    kid = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    if jwk.get("kid", kid) != kid:
        raise Refused("key_set_invalid")
    return Key(kid, jwt.PyJWK.from_dict({"kty": "OKP", "crv": "Ed25519", "x": x}).key)


def _y_of(data: bytes) -> int:
    return int.from_bytes(data, "little") & (2**255 - 1)


def _is_usable_point(data: bytes) -> bool:
    y = _y_of(data)
    return y < _P and y not in _SMALL_Y


def _is_point(data: bytes) -> bool:
    """Whether some x belongs to this y: (y² - 1) / (d·y² + 1) has to be a square."""
    y = _y_of(data)
    return pow((y * y - 1) * (_D * y * y + 1), (_P - 1) // 2, _P) == 1
