"""What refers to a release in a registry: signatures, roots. Fetched within caps; what does not fit is named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from bundler.collect.registry.store import RemoteBlob, RemoteStore
from bundler.publish import form
from installer.bundle.digest import Digest
from installer.bundle.roots import ROOT_NAME
from installer.bundle.signature import parse_signature
from installer.errors import ExitCode, SealiftError


@dataclass
class Attached:
    """Files by where they lie in a bundle or beside it, each kind in the order of its digests."""

    signatures: dict[str, bytes] = field(default_factory=dict)
    of_program: dict[str, bytes] = field(default_factory=dict)
    roots: dict[int, bytes] = field(default_factory=dict)


def attached(store: RemoteStore, subject: str, statement: bytes, warn: Callable[[str], None]) -> Attached:
    """All that refers to the manifest ``subject``, whose ``release.json`` is ``statement``; ``warn`` is told what is
    left out and why.

    Raises ``referrers-malformed``, ``referrers-too-many`` (3), ``registry-*`` (9).
    """
    found = Attached()
    for one in sorted(_listed(store, subject), key=lambda entry: entry.digest):
        where = f"referrer {one.digest[:19]}"
        try:
            read = _read(store, one, subject, where)
            if read is not None:
                _take(found, *read, statement)
        except SealiftError as error:
            if error.exit_code is ExitCode.SERVICE:
                raise  # it may be there the next time
            warn(f"{where} does not count ({error.id}): {error.message}")
    return found


def _listed(store: RemoteStore, subject: str) -> tuple[form.Referrer, ...]:
    own = store.referrers(Digest.parse(subject), strict=True)
    if own is None:
        fallback = store.fetch(form.fallback_tag(subject))
        own = fallback.raw if fallback else None
    return form.read_referrers(own, subject[:19]) if own is not None else ()


def _read(store: RemoteStore, one: form.Referrer, subject: str, where: str) -> tuple[form.Kind, str, bytes] | None:
    manifest = store.fetch(one.digest)
    if manifest is None:
        raise SealiftError("referrer-malformed", "the registry lists it and does not have it")
    claim = form.read_attachment(manifest.raw, subject, where)
    if claim is None:
        return None
    kind, name, content = claim
    data = b"".join(RemoteBlob(store, content.digest, content.size).chunks())
    if str(Digest.of(data)) != content.digest:
        raise SealiftError("digest-mismatch", "its content is not what its digest says")
    return kind, name, data


def _take(found: Attached, kind: form.Kind, name: str, data: bytes, statement: bytes) -> None:
    """Raises ``signature-…`` (3), ``signature-of-another``, ``referrer-of-another`` (5)."""
    if kind is form.ROOT:
        version = ROOT_NAME.fullmatch(name)
        number = int(version[1]) if version else 0
        if found.roots.setdefault(number, data) != data:
            raise SealiftError("referrer-malformed", f"another root of version {number} is there")
        return
    over = parse_signature(data, name).digest
    if kind is form.SIGNATURE and over != Digest.of(statement):
        raise SealiftError("signature-of-another", f"{name} is over something else than this release", hint=form.RUN)
    taken = found.signatures if kind is form.SIGNATURE else found.of_program
    if data not in taken.values():
        taken[name if name not in taken else form.name_of(kind, str(Digest.of(data)))] = data
