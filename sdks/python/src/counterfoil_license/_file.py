"""The armour of `.lic` files and bundles: PEM-like blocks with comment lines for people, as mail programs leave them."""

from __future__ import annotations

import re

from ._strict import Refused

_BYTES_MAX = 2 * 1024 * 1024
_BLOCKS = {"LICENSE": "license", "KEY SET": "key_set", "STATUS LIST": "status_list"}
_EDGE = re.compile(r"-----(BEGIN|END) COUNTERFOIL ([A-Z ]+)-----")
_BODY = re.compile(r"[A-Za-z0-9_.-]+")


def parse_file(text: str) -> dict[str, str]:
    """Reads a license file, a bundle, or a bare token: `license`, and `key_set` and `status_list` where they are there.

    Nothing is verified. Raises `Refused` with the code `file_malformed` or `file_too_large`.
    """
    if len(text.encode(errors="surrogatepass")) > _BYTES_MAX:
        raise Refused("file_too_large")
    lines = [line.lstrip("> \t").rstrip(" \t") for line in re.split("\r\n|\r|\n", text.removeprefix("\ufeff"))]
    if not any(line.startswith("-----BEGIN ") for line in lines):
        return {"license": _body([line for line in lines if line])}
    found: dict[str, str] = {}
    block: str | None = None
    body: list[str] = []
    for line in lines:
        edge, name = match.groups() if (match := _EDGE.fullmatch(line)) else (None, None)
        if edge == "BEGIN":
            if block:
                raise Refused("file_malformed")
            block, body = name, []
        elif edge == "END":
            member = _BLOCKS.get(name)
            if block != name or (member in found):
                raise Refused("file_malformed")
            if member:
                found[member] = _body(body)
            block = None
        elif block and line and ":" not in line:
            body.append(line)
    if block or "license" not in found:
        raise Refused("file_malformed")
    return found


def _body(lines: list[str]) -> str:
    """The text itself; a `=` at the end of a line is what quoted-printable mail puts at a break."""
    parts = [line.removesuffix("=") for line in lines]
    if not parts or not all(_BODY.fullmatch(part) for part in parts):
        raise Refused("file_malformed")
    return "".join(parts)
