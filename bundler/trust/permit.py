"""Permits as they are made: a leave for one site to go once to a release that its marks forbid, and who signs it."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bundler.durable import write_new
from bundler.signing.sign import KeySigner
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.bundle.signature import key_fingerprint, parse_signature
from installer.bundle.trust import PublicKey
from installer.errors import SealiftError
from installer.talk import Table
from installer.trust.clock import spelled
from installer.trust.permit import Permit, permit_files

DEFAULT_DAYS: Final = 14
LOST: Final = "lost"
SUFFIX: Final = ".permit.json"


@dataclass(frozen=True)
class Wish:
    """What shall be permitted. ``coming_from`` and ``to`` are digests, bundles or media folders; or ``lost``."""

    coming_from: str
    to: str
    site: str
    product: str | None = None
    days: int = DEFAULT_DAYS


@dataclass(frozen=True)
class Signed:
    """A permit with the signature files that were written now."""

    path: Path
    permit: Permit
    files: tuple[Path, ...]
    signers: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        value = {"permit": str(self.path), **self.permit.model_dump(mode="json", by_alias=True)}
        return value | {"signers": list(self.signers), "files": [str(path) for path in self.files]}

    def table(self) -> Table:
        permit = self.permit
        rows = [
            ("permit", str(self.path)),
            ("product", permit.product),
            ("from", permit.coming_from or "a host that lost its state"),
            ("to", permit.to),
            ("site", permit.site),
            ("id", permit.id),
            ("expires", permit.expires),
            ("signed by", ", ".join(self.signers) or "nobody new: these keys have signed it already"),
        ]
        return Table(("", ""), (*rows, *(("wrote", str(path)) for path in self.files)))


def make_permit(wish: Wish, now: datetime) -> Permit:
    """The permit for a wish, with an id of its own. Raises ``permit-wish`` (2), and what reading a bundle raises."""
    to_digest, to_product = _release(wish.to)
    from_digest, from_product = (None, None) if wish.coming_from == LOST else _release(wish.coming_from)
    products = {name for name in (wish.product, to_product, from_product) if name is not None}
    if len(products) != 1:
        raise SealiftError(
            "permit-wish",
            f"not one product: {', '.join(sorted(products))}" if products else "a digest does not say of which product",
            hint="name it with --product; both releases must be of it",
        )
    if from_digest == to_digest:
        raise SealiftError(
            "permit-wish", "the permit would lead from a release to the same one", hint="sealift status shows what runs"
        )
    return Permit(
        product=products.pop(),
        coming_from=None if from_digest is None else str(from_digest),
        to=str(to_digest),
        site=str(_digest(wish.site, "--site")),
        id=secrets.token_hex(16),
        issued=spelled(now),
        expires=spelled(now + timedelta(days=wish.days)),
    )


def write_permit(permit: Permit, out: Path, signers: Sequence[KeySigner]) -> Signed:
    """Write ``out`` and a signature file of each of ``signers`` beside it. Raises ``output-exists`` (2)."""
    out.parent.mkdir(parents=True, exist_ok=True)
    write_new(out, permit.to_bytes())
    return sign_permit(out, signers)


def is_permit(path: Path) -> bool:
    """Whether ``path`` is called as ``bundle permit`` calls its files."""
    return path.name.endswith(SUFFIX)


def read_unsigned(path: Path) -> Permit:
    """What somebody is about to sign. Raises what :meth:`Permit.parse` raises."""
    return Permit.parse(permit_files(path)[0])


def sign_permit(path: Path, signers: Sequence[KeySigner]) -> Signed:
    """Add the signatures that ``signers`` have not made yet, as files beside ``path``.

    Nothing is signed that is not a permit: raises what :meth:`Permit.parse` raises.
    """
    raw, there = permit_files(path)
    permit = Permit.parse(raw)
    new = [signer for signer in signers if not _has_signed(signer, raw, there.values())]
    files = []
    for signer in new:
        place = path.with_name(f"{path.name}.{signer.name}.sigstore.json")
        if place.exists():  # another key of the same name
            place = path.with_name(f"{path.name}.{signer.name}-{key_fingerprint(signer.spki).short}.sigstore.json")
        write_new(place, signer.signature_file(raw))
        files.append(place)
    return Signed(path, permit, tuple(files), tuple(signer.name for signer in new))


def _has_signed(signer: KeySigner, raw: bytes, files: Iterable[bytes]) -> bool:
    key = PublicKey(signer.spki, signer.name)
    for data in files:
        try:
            if key.accepts(parse_signature(data, "a signature").signature, raw):
                return True
        except SealiftError:
            continue
    return False


def _release(text: str) -> tuple[Digest, str | None]:
    """A release by its digest, or by a bundle that lies here, with its product. The bundle's signatures are not judged:
    a permit lets in what a host then verifies itself."""
    if text.startswith("sha256:"):
        return _digest(text, "a release"), None
    with BundleReader(locate_bundle(Path(text))) as reader:
        raw = reader.head.release
    return Digest.of(raw), Release.parse(raw).product


def _digest(text: str, what: str) -> Digest:
    try:
        return Digest.parse(text)
    except SealiftError as error:
        raise SealiftError("permit-wish", f"{what}: {error.message}", hint=error.hint) from error
