"""Verifies Counterfoil licenses offline. Every input has an answer: a state, a code, and what the product may do.

Several states can be true at once. The answer is the first one of: invalid, clock_behind, revoked, expired, not_yet_valid,
suspended, superseded, in_grace, refresh_due, valid.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from ._file import parse_file
from ._signed import LICENSE, KeySet, check_key, keys_of_jwks, open_key_set, open_signed
from ._status_list import StatusList, open_status_list
from ._strict import Refused, is_integer, is_object, parse_object

__all__ = ["Answer", "Refused", "parse_file", "verify"]

_DAY = 24 * 60 * 60
_ENTITLED = {"valid", "refresh_due", "in_grace", "superseded"}
_REFRESH = {"refresh_due", "in_grace", "superseded", "suspended", "expired", "revoked"}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


_CLAIMS = {
    "iss": _is_text,
    "sub": _is_text,
    "customer_id": _is_text,
    "aud": _is_text,
    "iat": is_integer,
    "nbf": is_integer,
    "exp": is_integer,
    "jti": _is_text,
    "ver": is_integer,
    "plan": _is_text,
    "status": _is_text,
    "trial": lambda value: isinstance(value, bool),
    "features": lambda value: isinstance(value, list) and all(map(_is_text, value)),
    "limits": lambda value: is_object(value) and all(map(is_integer, value.values())),
    "paid_until": is_integer,
    "grace_until": is_integer,
    "refresh_after": is_integer,
}


@dataclass(frozen=True)
class Answer:
    """What a license is worth."""

    #: The grade: one of the ten words above.
    state: str
    #: A stable word: the state, or why the license is invalid.
    code: str
    #: What the license says, where a trusted key has signed it; that alone entitles to nothing.
    claims: dict[str, Any] | None = field(default=None, repr=False)

    @property
    def entitled(self) -> bool:
        """Whether the product may run."""
        return self.state in _ENTITLED

    @property
    def should_refresh(self) -> bool:
        """Whether to ask the server for a newer license."""
        return self.state in _REFRESH

    @property
    def features(self) -> list[str]:
        """What may be used now; empty unless entitled."""
        return list(self.claims["features"]) if self.entitled and self.claims else []

    @property
    def limits(self) -> dict[str, int]:
        """The plan's limits by name; empty unless entitled."""
        return dict(self.claims["limits"]) if self.entitled and self.claims else {}

    @property
    def plan(self) -> str | None:
        """The plan's code; none unless entitled."""
        return self.claims["plan"] if self.entitled and self.claims else None


@dataclass(frozen=True)
class _Call:
    issuer: str
    audience: str
    now: int
    status_list_required: bool
    highest_time_seen: int | None
    clock_skew: int


def verify(
    token: str,
    *,
    issuer: str,
    audience: str,
    jwks: str | dict[str, Any] | None = None,
    root: str | None = None,
    key_set: str | None = None,
    serial_seen: int | None = None,
    now: int | None = None,
    status_list: str | None = None,
    status_list_required: bool = False,
    highest_time_seen: int | None = None,
    clock_skew: int = _DAY,
) -> Answer:
    """What a license is worth. It raises for no license; a call with a mistake in it is a TypeError."""
    if not isinstance(issuer, str) or not isinstance(audience, str):
        raise TypeError("verify needs issuer and audience")
    if (jwks is None) == (root is None):
        raise TypeError("verify needs either jwks, or root and key_set")
    clock = int(time.time()) if now is None else now
    call = _Call(issuer, audience, clock, status_list_required, highest_time_seen, max(0, clock_skew))
    claims = None
    try:
        rooted = None if root is None else open_key_set(key_set, root, serial_seen)
        keys = rooted.keys if rooted else keys_of_jwks(jwks)
        listed = None if status_list is None else open_status_list(status_list, keys)
        claims = _authenticate(token, keys)
        state = _judge(claims, call, rooted, listed)
        return Answer(state, state, claims)
    except Refused as refused:
        return Answer("invalid", refused.code, claims)


def _authenticate(token: str, keys: list) -> dict[str, Any]:
    payload, key = open_signed(token, LICENSE, keys)
    if key.state == "compromised":
        raise Refused("key_compromised")
    claims = parse_object(payload)
    if any(name not in claims for name in _CLAIMS):
        raise Refused("missing_claim")
    if not all(fits(claims[name]) for name, fits in _CLAIMS.items()):
        raise Refused("malformed")
    if "status_list" in claims:
        place = claims["status_list"]
        if not is_object(place) or not is_integer(place.get("idx")) or place["idx"] < 0 or not _is_text(place.get("uri")):
            raise Refused("malformed")
    check_key(key, claims["iat"])
    return claims


def _judge(claims: dict[str, Any], call: _Call, rooted: KeySet | None, listed: StatusList | None) -> str:
    now = max(call.now, call.now if call.highest_time_seen is None else call.highest_time_seen)
    _accept(claims, call, rooted, now)
    status = _status(claims, call, listed, now)
    passed = [claims["iat"], call.highest_time_seen, rooted and rooted.issued_at, listed and listed.issued_at]
    if any(moment is not None and moment > call.now + call.clock_skew for moment in passed):
        return "clock_behind"
    if status == "invalid":
        return "revoked"
    if now >= claims["exp"]:
        return "expired"
    if now < claims["nbf"]:
        return "not_yet_valid"
    if status != "valid":
        return status
    if now >= claims["paid_until"]:
        return "in_grace"
    return "refresh_due" if now >= claims["refresh_after"] else "valid"


def _accept(claims: dict[str, Any], call: _Call, rooted: KeySet | None, now: int) -> None:
    if claims["sub"] != claims["customer_id"] or claims["exp"] <= claims["iat"]:
        raise Refused("invalid_claim")
    if claims["iss"] != call.issuer:
        raise Refused("wrong_issuer")
    if claims["aud"] != call.audience:
        raise Refused("wrong_audience")
    if rooted and rooted.issuer != call.issuer:
        raise Refused("key_set_invalid")
    if rooted and now >= rooted.expires_at:
        raise Refused("key_set_expired")


def _status(claims: dict[str, Any], call: _Call, listed: StatusList | None, now: int) -> str:
    """An expired list still counts where it speaks against the license: revocation is for good."""
    place = claims.get("status_list")
    if place is None:
        return "valid"
    if listed is None or listed.uri != place["uri"]:
        if call.status_list_required:
            raise Refused("status_list_missing")
        return "valid"
    status = listed.status_at(place["idx"])
    if status is None:
        raise Refused("status_index_out_of_range")
    if call.status_list_required and now >= listed.expires_at and status != "invalid":
        raise Refused("status_list_expired")
    return status
