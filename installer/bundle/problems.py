"""From the library's report on a document to one error id and one line for people."""

from __future__ import annotations

from typing import Any, Final, LiteralString

from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from installer.bundle.digest import DIGEST_PATTERN
from installer.bundle.paths import MAX_PATH, PATH_PATTERN, path_fault
from installer.errors import ERRORS

_LONGEST: Final = 300
_BY_KIND: Final = {"extra_forbidden": "release-unknown-field", "missing": "release-missing-field"}


def fault(error_id: LiteralString, message: str) -> PydanticCustomError:
    """What a validator raises so that the document is refused with ``error_id``."""
    return PydanticCustomError(error_id, "{message}", {"message": message})


def first_problem(error: ValidationError) -> str:
    """The first problem of a pydantic report as ``place: what``, one line."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "document"
    return shown(f"{place}: {first['msg'].removeprefix('Value error, ')}")


def shown(text: str) -> str:
    """``text`` from outside as it may stand in a message: one line, no controls, not too long."""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text[:_LONGEST])


def problem_id(error: ValidationError) -> str:
    """The error id of the first problem in a ``release.json``."""
    first = error.errors(include_url=False)[0]
    kind, limits = first["type"], first.get("ctx", {})
    if kind in ERRORS:
        return kind
    return _BY_KIND.get(kind) or _pattern_id(limits, first["input"]) or "release-invalid"


def only_problem(error: ValidationError, kind: str) -> bool:
    """Whether the first problem is of pydantic's ``kind``."""
    return error.errors(include_url=False, include_input=False)[0]["type"] == kind


def _pattern_id(limits: dict[str, Any], value: object) -> str | None:
    if limits.get("pattern") == DIGEST_PATTERN:
        return "release-digest"
    if limits.get("pattern") == PATH_PATTERN or limits.get("max_length") == MAX_PATH:
        return path_fault(str(value))
    if limits.get("le") == 2**50:
        return "size-overflow"
    if limits.get("ge") == 0:
        return "size-negative"
    return None
