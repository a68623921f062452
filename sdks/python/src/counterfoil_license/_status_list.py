"""The Token Status List (draft-ietf-oauth-status-list) with two bits for each license."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

from ._signed import STATUS_LIST, Key, check_key, open_signed
from ._strict import Refused, decode, is_integer, is_object, parse_object

_BYTES_MAX = 1024 * 1024 // 4
_STATUSES = ("valid", "invalid", "suspended", "superseded")


@dataclass(frozen=True)
class StatusList:
    uri: str
    issued_at: int
    expires_at: int
    data: bytes

    def status_at(self, idx: int) -> str | None:
        """The entry; nothing where the list does not reach so far."""
        if idx // 4 >= len(self.data):
            return None
        return _STATUSES[self.data[idx // 4] >> (idx % 4 * 2) & 3]


def open_status_list(text: str, keys: list[Key]) -> StatusList:
    """Reads a status list and proves that a trusted key has signed it."""
    try:
        payload_bytes, key = open_signed(text, STATUS_LIST, keys)
        payload = parse_object(payload_bytes)
        sub, iat, exp, ttl = (payload.get(name) for name in ("sub", "iat", "exp", "ttl"))
        packed = payload.get("status_list")
        complete = isinstance(sub, str) and is_integer(iat) and is_integer(exp) and is_object(packed)
        if not complete or not (ttl is None or (is_integer(ttl) and ttl >= 0)):
            raise Refused("malformed")
        if not is_integer(packed.get("bits")) or packed["bits"] != 2 or not isinstance(packed.get("lst"), str):
            raise Refused("malformed")
        check_key(key, iat)
        return StatusList(sub, iat, exp, _inflate(decode(packed["lst"])))
    except (Refused, zlib.error):
        raise Refused("status_list_invalid") from None


def _inflate(packed: bytes) -> bytes:
    """Inflates, and gives up at the limit, so that a small text cannot fill the memory."""
    inflater = zlib.decompressobj()
    data = inflater.decompress(packed, _BYTES_MAX + 1)
    if len(data) > _BYTES_MAX or not inflater.eof:
        raise Refused("status_list_invalid")
    return data
