"""Strict base64url and strict JSON: two readers of one token must never see different things.

Each value has one text, and an object that names a member twice is refused at any depth.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Any

_NESTING_MAX = 127
_ALPHABET = re.compile(r"[A-Za-z0-9_-]*")


class Refused(Exception):
    """Why something is refused: a stable word."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


def decode(text: str) -> bytes:
    """The bytes of a base64url text without padding and without stray bits."""
    if not _ALPHABET.fullmatch(text) or len(text) % 4 == 1:
        raise Refused("malformed")
    data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if base64.urlsafe_b64encode(data).rstrip(b"=").decode() != text:
        raise Refused("malformed")
    return data


def parse_object(data: bytes) -> dict[str, Any]:
    """The JSON object in these bytes."""
    try:
        value = json.loads(data.decode(), object_pairs_hook=_distinct, parse_constant=_no_constant)
        _walk(value, 0)
    except (ValueError, RecursionError):
        raise Refused("malformed") from None
    if not is_object(value):
        raise Refused("malformed")
    return value


def is_object(value: Any) -> bool:
    return isinstance(value, dict)


def is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is named twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _walk(value: Any, depth: int) -> None:
    """Refuses deep nesting, and halves of characters that are no text."""
    if depth > _NESTING_MAX:
        raise ValueError("nested too deeply")
    if isinstance(value, dict):
        for name, inner in value.items():
            name.encode()
            _walk(inner, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            _walk(inner, depth + 1)
    elif isinstance(value, str):
        value.encode()
