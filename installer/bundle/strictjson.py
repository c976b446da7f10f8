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
    """Read JSON strictly: UTF-8, no duplicate keys, no floats, bounded depth. ``what`` names the document in messages.

    Whether the bytes are *canonical* is :func:`parse_canonical`'s question. Raises ``json-not-utf8``, ``json-invalid``,
    ``json-duplicate-key``, ``json-number``, ``json-depth``, ``json-surrogate`` (3).
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
        if "\\u" in text:  # only an escape can bring half a surrogate pair
            canonical(value)
    except RecursionError:
        problem = _Problem("json-depth", f"nested deeper than {MAX_DEPTH}")
    except UnicodeDecodeError as error:
        problem = _Problem("json-not-utf8", str(error))
    except UnicodeEncodeError:
        problem = _Problem("json-surrogate", "half a surrogate pair, which is no character")
    except _Problem as error:
        problem = error
    except ValueError as error:
        problem = _Problem("json-invalid", str(error))
    else:
        return value
    raise SealiftError(
        problem.id,
        f"{what} is not valid JSON: {problem.message[:120]}",
        hint="the media was not made by sealift or is damaged",
    )


def parse_canonical(raw: bytes, what: str) -> Any:
    """Read JSON that must be spelled canonically, byte for byte. Raises also ``json-not-canonical``."""
    value = parse(raw, what)
    if canonical(value) != raw:
        raise SealiftError(
            "json-not-canonical", f"{what} is not in canonical form", hint="the media was not made by sealift"
        )
    return value


class _Problem(Exception):
    """Carries an error id out of the library's hooks."""

    def __init__(self, id: str, message: str) -> None:
        super().__init__(message)
        self.id, self.message = id, message


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _Problem("json-duplicate-key", "a key stands twice in one object")
    return result


def _refuse_number(text: str) -> NoReturn:
    raise _Problem("json-number", f"a number with a fraction or without a value: {text[:20]}")


def _bounded_int(text: str) -> int:
    if len(text) > 17 or abs(int(text)) > _MAX_INT:
        raise _Problem("json-number", "an integer beyond 2^53-1")
    return int(text)


def _refuse_depth(value: object, depth: int = 1) -> None:
    if depth > MAX_DEPTH:
        raise _Problem("json-depth", f"nested deeper than {MAX_DEPTH}")
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
