"""Manifests that refer to another, in either way that registries list them: by themselves, or under a tag that we keep.

Where a registry lists nothing by itself (Distribution 2.8 and 3), the list is an index under ``sha256-<hex>`` that
whoever adds a referrer writes again (distribution-spec 1.1). Two who do so at once can take each
other's line away; so it is read again after it was written, and written again where a line is missing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bundler.collect.documents import INDEX
from bundler.publish import form
from installer.bundle.digest import Digest
from installer.bundle.strictjson import parse
from installer.errors import SealiftError
from installer.registry.client import RegistryClient

_TRIES: Final = 5


@dataclass(frozen=True)
class Reference:
    """A manifest that refers to another; ``tag`` keeps it from collectors of what has none."""

    raw: bytes
    media_type: str
    artifact_type: str
    tag: str

    @property
    def digest(self) -> str:
        return str(Digest.of(self.raw))


def missing(
    client: RegistryClient, repository: str, subject: str, wanted: Sequence[Reference]
) -> tuple[Reference, ...]:
    """Those of ``wanted`` that a registry does not list, or does not have under their tags."""
    listed = {entry.get("digest") for entry in _entries(client, repository, subject)}
    return tuple(
        one for one in wanted if one.digest not in listed or client.manifest_digest(repository, one.tag) != one.digest
    )


def attach(client: RegistryClient, repository: str, subject: str, wanted: Sequence[Reference]) -> None:
    """Store ``wanted`` and have them listed. What they consist of must be there. Raises ``registry-*`` (9)."""
    unlisted: dict[str, Mapping[str, Any]] = {}
    for one in wanted:
        for name in (one.digest, one.tag):
            does_list = client.put_manifest(repository, name, one.media_type, one.digest, one.raw)
        if not does_list:
            unlisted[one.digest] = form.listed_as(one.raw, one.media_type, one.artifact_type)
    tag = form.fallback_tag(subject)
    for _ in range(_TRIES if unlisted else 0):
        before = _under(client, repository, tag)
        if unlisted.keys() <= {entry.get("digest") for entry in before}:
            return
        raw = form.listing(before, unlisted)
        client.put_manifest(repository, tag, INDEX, str(Digest.of(raw)), raw)
    if unlisted and not unlisted.keys() <= {entry.get("digest") for entry in _under(client, repository, tag)}:
        raise SealiftError(
            "registry-refused",
            f"others write the list of what refers to {subject[:19]}… in {repository} all the time",
            hint="run the same command again when they are done",
        )


def _entries(client: RegistryClient, repository: str, subject: str) -> list[dict[str, Any]]:
    own = client.referrers(repository, subject)
    return _read(own, subject) if own is not None else _under(client, repository, form.fallback_tag(subject))


def _under(client: RegistryClient, repository: str, tag: str) -> list[dict[str, Any]]:
    raw = client.manifest(repository, tag)
    return _read(raw, tag) if raw is not None else []


def _read(raw: bytes, what: str) -> list[dict[str, Any]]:
    """The lines as they stand, those of others too."""
    value = parse(raw, f"the referrers of {what}")
    listed = value.get("manifests") if isinstance(value, dict) else None
    if not isinstance(listed, list) or not all(isinstance(entry, dict) for entry in listed):
        raise SealiftError("referrers-malformed", f"the referrers of {what} are no index", hint=form.RUN)
    return listed
