"""Names of images as registries and engines spell them (distribution/reference, ``reference.go``). Values only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from installer.errors import SealiftError

HUB: Final = "docker.io"
_PART: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:]+\])(?::[0-9]{{1,5}})?")
_REPOSITORY: Final = re.compile(rf"{_PART}(?:/{_PART})*")
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_PINNED: Final = re.compile(r"(.+)@(sha256:[0-9a-f]{64})", re.DOTALL)


@dataclass(frozen=True)
class Reference:
    """``host/repository[:tag][@digest]``, with nothing left out but what was: a tag, or a digest."""

    host: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    @classmethod
    def parse(cls, text: str, *, complete: bool = True) -> Self:
        """Read a reference, completed as engines do (``nginx`` is ``docker.io/library/nginx``).

        Without tag and digest the tag is ``latest``. Where nothing shall be completed, what stands first is the
        registry. Raises ``source-unsupported`` (2).
        """
        named, digest = split_pin(text)
        name, colon, tag = named.rpartition(":")
        if not colon or "/" in tag:
            name, tag = named, ""
        elif not _TAG.fullmatch(tag):
            raise _unreadable(text, "its tag is not of the form that registries allow")
        host, repository = _split(name) if complete else name.partition("/")[::2]
        if not _HOST.fullmatch(host):
            raise _unreadable(text, f"{host[:80]!r} is no name of a registry")
        if not _REPOSITORY.fullmatch(repository) or len(name) > 255:
            raise _unreadable(text, "the name is not of the form that registries allow")
        return cls(host, repository, tag or ("latest" if complete and not digest else None), digest)

    @property
    def name(self) -> str:
        """Without the digest, as long as there is a tag."""
        return f"{self.host}/{self.repository}" + (f":{self.tag}" if self.tag else f"@{self.digest}")

    def __str__(self) -> str:
        return self.name + (f"@{self.digest}" if self.tag and self.digest else "")


def split_pin(text: str) -> tuple[str, str | None]:
    """What stands before ``@sha256:…``, and that digest or None."""
    match = _PINNED.fullmatch(text)
    return (match[1], match[2]) if match else (text, None)


def _split(name: str) -> tuple[str, str]:
    """Registry and repository. What stands first is a registry when it could be nothing else."""
    first, slash, rest = name.partition("/")
    if slash and (set(".:") & set(first) or first == "localhost" or first != first.lower()):
        host = HUB if first == f"index.{HUB}" else first
    else:
        host, rest = HUB, name
    return host, f"library/{rest}" if host == HUB and "/" not in rest else rest


def _unreadable(text: str, why: str) -> SealiftError:
    return SealiftError(
        "source-unsupported",
        f"{text[:200]!r} is no reference of an image: {why}",
        hint="write host:port/name:tag, or host:port/name@sha256:…, in lower case",
    )
