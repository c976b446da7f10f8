"""The values that documents consist of: names, versions, paths, digests, sizes, each in one spelling."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal, Self
from unicodedata import category

import semver
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from installer.bundle.digest import DIGEST_PATTERN
from installer.bundle.paths import MAX_PATH, PATH_PATTERN, path_fault
from installer.bundle.problems import fault

_INVISIBLE: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, marks that turn or hide text, line separators
_KINDS: Final = {"string": str, "integer": int, "boolean": bool}
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and marks that show nothing


def _version(text: str) -> str:
    parsed = semver.Version.parse(text)
    if str(parsed) != text:  # digits of other scripts, a newline at the end
        raise ValueError("not the plain spelling of a semantic version")
    if parsed.build is not None:
        raise ValueError("build metadata (+...) is not allowed: it would give two names to one precedence")
    return text


def _path(text: str) -> str:
    if path_fault(text) == "path-climbing":
        raise fault("path-climbing", f"a path that climbs: {text}")
    if path_fault(text) is not None:
        raise fault("path-spelling", f"a path with empty or '.' parts: {text}")
    return text


def _reference(text: str) -> str:
    if any(part in ("", ".", "..") for part in text.split("/")):
        raise fault("release-reference", f"a reference with empty, '.' or '..' parts: {text}")
    return text


def _text(text: str) -> str:
    if any(category(char) in _INVISIBLE or char in _BLANK for char in text.replace("\n", "").replace("\t", "")):
        raise fault("release-text", "a text with characters that no terminal should see")
    return text


def _port_of(text: str) -> str:
    if int(text[1:].partition("/")[0]) > 65535:
        raise ValueError("a port beyond 65535")
    return text


def _instant(text: str) -> str:
    datetime.strptime(text, "%Y-%m-%dT%H:%M:%S%z")
    return text


Name = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$")]
"""Names of products, services, images, entry points, channels: they end up in DNS labels and project names."""
InputName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$", max_length=80)]
SemVer = Annotated[str, StringConstraints(max_length=64), AfterValidator(_version)]
Path = Annotated[str, StringConstraints(pattern=PATH_PATTERN, max_length=MAX_PATH), AfterValidator(_path)]
DigestText = Annotated[str, StringConstraints(pattern=DIGEST_PATTERN)]
Size = Annotated[int, Field(ge=0, le=2**50)]
Port = Annotated[int, Field(ge=1, le=65535)]
Text = Annotated[str, StringConstraints(max_length=2000), AfterValidator(_text)]
MediaType = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*$", max_length=127)]
VersionRange = Annotated[
    str,
    StringConstraints(
        pattern=r"^(==|!=|<=|>=|<|>)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,2}"
        r"(,(==|!=|<=|>=|<|>)(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){0,2})*$",
        max_length=200,
    ),
]

Reference = Annotated[
    str, StringConstraints(pattern=r"^[a-z0-9][A-Za-z0-9._/:@-]*$", max_length=255), AfterValidator(_reference)
]
Instant = Annotated[
    str,
    StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$"),
    AfterValidator(_instant),
]
HttpPlace = Annotated[
    str, StringConstraints(pattern=r"^:[1-9][0-9]{0,4}/[\x21-\x7e]*$", max_length=200), AfterValidator(_port_of)
]
TcpPlace = Annotated[str, StringConstraints(pattern=r"^:[1-9][0-9]{0,4}$"), AfterValidator(_port_of)]


class Closed(BaseModel):
    """A model that refuses what it does not know."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, ser_json_bytes="utf8")


class Input(Closed):
    """A typed value that the site must (or may, with ``default``) give. A list has no default but none."""

    type: Literal["string", "integer", "boolean", "list"] = "string"
    default: Annotated[str, StringConstraints(max_length=2000)] | int | bool | None = None
    since: SemVer | None = None
    description: Text = ""

    @model_validator(mode="after")
    def _default_is_of_its_type(self) -> Self:
        if self.default is not None and type(self.default) is not _KINDS.get(self.type):
            raise ValueError(f"a default that is no {self.type}")
        return self
