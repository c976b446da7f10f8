"""JSON with one spelling per value: canonical bytes out, and only canonical bytes in.

Canonical here: UTF-8, keys sorted by code point, no insignificant space, no floats, integers within ±(2^53-1),
no duplicate keys, ``ensure_ascii`` off, one trailing newline. A subset of RFC 8785 without its number rules.
"""

from __future__ import annotations

import json
from typing import Any, Final, NoReturn

from installer.errors import SealiftError

MAX_DEPTH: Final = 32
_MAX_INT: Final = 2**53 - 1


def canonical(value: object) -> bytes:
    """The canonical bytes of a JSON value (no floats). Raises ``ValueError`` for what JSON can't hold."""
    _refuse_inexact(value)
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8") + b"\n"


def parse(raw: bytes, what: str) -> Any:
    """Read JSON strictly: UTF-8, no duplicate keys, no floats, bounded depth. Raises ``json-invalid``.

    ``what`` names the document in the message. Whether the bytes are *canonical* is :func:`parse_canonical`'s question.
    """
    try:
        text = raw.decode("utf-8", errors="strict")
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_float=_refuse_number,
            parse_constant=_refuse_number,
            parse_int=_bounded_int,
        )
        _refuse_depth(value)
        return value
    except (ValueError, RecursionError) as error:
        raise SealiftError(
            "json-invalid",
            f"{what} is not valid JSON: {_brief(error)}",
            hint="the media was not made by sealift or is damaged",
        ) from error


def parse_canonical(raw: bytes, what: str) -> Any:
    """Read JSON that must be spelled canonically, byte for byte. Raises ``json-invalid``."""
    value = parse(raw, what)
    try:
        respelled = canonical(value)
    except ValueError as error:  # lone surrogates and the like
        raise SealiftError("json-invalid", f"{what} holds what JSON cannot: {_brief(error)}") from error
    if respelled != raw:
        raise SealiftError("json-invalid", f"{what} is not in canonical form", hint="the media was not made by sealift")
    return value


def _brief(error: Exception) -> str:
    return str(error)[:120]


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return result


def _refuse_number(text: str) -> NoReturn:
    raise ValueError(f"a number with a fraction or without a value: {text[:20]}")


def _bounded_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INT:
        raise ValueError("an integer beyond 2^53-1")
    return int(text)


def _refuse_depth(value: object, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise ValueError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _refuse_depth(item, depth + 1)


def _refuse_inexact(value: object) -> None:
    if isinstance(value, float):
        raise ValueError("a float has no canonical form here")
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                raise ValueError("an object key that is not a string")
            _refuse_inexact(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_inexact(item)
