"""``sealift receipt``: what this site runs and provably holds, looked at now, signed with the site's key.

Nothing of a site file gets in but the site's name, its channel and the kind of its target: no value, secret or address.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from installer import __version__
from installer.bundle.digest import Digest
from installer.bundle.receipt import (
    Held,
    OwnService,
    OwnServices,
    Receipt,
    ReceiptMark,
    ReceiptProduct,
    ReceiptProgram,
    ReceiptTrust,
    ReleaseName,
    SignedReceipt,
    pack_digests,
    read_receipt,
    seal,
)
from installer.bundle.release import Release
from installer.bundle.sigstorefields import to_base64
from installer.bundle.trust import TrustPolicy
from installer.durable import write_durably
from installer.errors import SealiftError
from installer.look.observing import compose_host
from installer.media import KEPT_ROLES, holds_file, tool_path
from installer.plan.driver import Connect
from installer.program.hostprogram import host_program, own_program
from installer.registry.archive import archived
from installer.site.site import Site, load_site
from installer.state.journal import Journal
from installer.state.lock import locked
from installer.state.releases import CommittedRelease, list_kept, load_committed
from installer.state.state import EdgeImage, ProductState, ReleaseRef, SiteState, load_state
from installer.talk import Table, Talk
from installer.trust.admission import PLATFORMS
from installer.trust.clock import host_now, spelled
from installer.trust.entrance import refuse_lost
from installer.trust.sitekey import site_key
from installer.trust.store import load_policy
from installer.words import size

_NOT_KEPT: Final = frozenset({"program", "binary", "chart"})
"""What comes along and is used, if at all, while it passes by."""
_LABEL: Final = re.compile(r"[\x21-\x7e]{0,64}")


@dataclass(frozen=True)
class Made:
    """A receipt that was written. ``lost`` are digests that kept releases need and that are not there."""

    path: Path
    signed: SignedReceipt
    size: int
    counts: dict[str, int]
    lost: tuple[str, ...]

    def as_json(self) -> dict[str, object]:
        receipt = self.signed.receipt
        return {
            "receipt": str(self.path),
            "site": receipt.site,
            "key": str(self.signed.fingerprint),
            "time": receipt.time,
            "size": self.size,
            "products": [one.model_dump(mode="json") for one in receipt.products],
            "held": self.counts,
            "lost": list(self.lost),
        }

    def table(self) -> Table:
        receipt = self.signed.receipt
        rows = [
            ("receipt", f"{self.path}  {size(self.size)}"),
            ("site", f"{receipt.site}, {self.signed.fingerprint}"),
            *(
                (one.product, f"{one.current.version if one.current else 'nothing'} serves, {len(one.kept)} kept")
                for one in receipt.products
            ),
            ("holds", ", ".join(f"{count} in {place}" for place, count in self.counts.items())),
        ]
        return Table(("", ""), tuple(rows))


def make_receipt(state_dir: Path, site_file: Path, out: Path, talk: Talk, *, connect: Connect = compose_host) -> Made:
    """Look, sign, and write ``out`` as one step. Changes nothing here.

    Raises ``state-lost``, ``journal-damaged`` (4), what reaching the target raises, ``registry-*`` (9).
    """
    policy, site = load_policy(state_dir), load_site(site_file)
    with locked(state_dir, "receipt"), connect(state_dir, site, talk) as driver:
        Journal(state_dir).check()
        refuse_lost(state_dir, driver.observe)
        state = load_state(state_dir)
        kept = {name: _kept(state_dir, name, talk) for name in sorted(state.products)}
        releases = _distinct(one.release for ones in kept.values() for one in ones)
        listed = {part.digest for release in releases for part in release.blobs().values()}
        if listed:
            talk.say(f"asking what is there of {len(listed)} manifests and blobs")
        archives = {name: _archive(image) for name, image in (("haproxy", state.edge), ("registry", state.registry))}
        held = {
            "registry": driver.holds(releases) if releases else frozenset[str](),
            "archives": frozenset[str]().union(*archives.values()),
            "files": frozenset(digest for ones in kept.values() for one in ones for digest in _files(state_dir, one)),
            "brought": frozenset(file.digest for one in releases for file in one.files if file.role in _NOT_KEPT),
        }
        receipt = _receipt(state_dir, site, state, policy, kept, archives, held)
        data = _sign(state_dir, receipt)
    _write(out, data)
    lost = tuple(sorted(listed - held["registry"] - held["archives"]))
    if lost:
        talk.warn(f"{len(lost)} manifests and blobs of kept releases are not there: {', '.join(lost[:3])}")
    return Made(out, read_receipt(data), len(data), {name: len(found) for name, found in held.items()}, lost)


def _kept(state_dir: Path, product: str, talk: Talk) -> list[CommittedRelease]:
    """The kept releases that are whole on this disk."""
    found = []
    for ref in list_kept(state_dir, product):
        try:
            found.append(load_committed(state_dir, ref))
        except SealiftError as error:
            talk.warn(f"left out: {error.message}")
    return found


def _distinct(releases: Iterable[Release]) -> list[Release]:
    """Each release once: one may be kept with several configurations."""
    return list({str(release.digest): release for release in releases}.values())


def _files(state_dir: Path, kept: CommittedRelease) -> Iterable[str]:
    """Files that are kept here, as whole as when they came."""
    for file in kept.release.files:
        place = None
        if file.role in KEPT_ROLES:
            place = kept.folder / "files" / file.path
        elif file.role == "tool":
            place = tool_path(state_dir, file)
        if place is not None and holds_file(place, file.digest):
            yield file.digest


def _archive(image: EdgeImage | None) -> frozenset[str]:
    return archived(Path(image.archive)) if image is not None else frozenset()


def _receipt(
    state_dir: Path,
    site: Site,
    state: SiteState,
    policy: TrustPolicy,
    kept: dict[str, list[CommittedRelease]],
    archives: dict[str, frozenset[str]],
    held: dict[str, frozenset[str]],
) -> Receipt:
    spki = site_key(state_dir).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    program = host_program() or own_program()
    return Receipt(
        site=site.site,
        key=to_base64(spki),
        time=spelled(host_now()),
        platform=PLATFORMS.get(os.uname().machine, "linux/amd64"),
        channel=site.channel,
        target=site.target.kind,
        program=ReceiptProgram(
            version=program.version if program else __version__, digest=str(program.digest) if program else None
        ),
        trust=ReceiptTrust(
            product=policy.product,
            version=policy.root_version,
            epoch=policy.epoch,
            digest=str(Digest.of(policy.raw or b"")),
            expires=spelled(policy.expires) if policy.expires else None,
        ),
        products=tuple(_product(state.products[name], kept[name]) for name in sorted(kept)),
        edge=OwnServices(
            haproxy=_service(state.edge, archives["haproxy"]), registry=_service(state.registry, archives["registry"])
        ),
        held=Held(**{name: pack_digests(found) for name, found in held.items()}),
    )


def _product(product: ProductState, kept: list[CommittedRelease]) -> ReceiptProduct:
    mark = product.marks.product
    whole = {one.ref.digest: _name(one.ref) for one in kept}
    return ReceiptProduct(
        product=product.product,
        current=_name(product.current) if product.current else None,
        previous=_name(product.previous) if product.previous else None,
        kept=tuple(whole[digest] for digest in sorted(whole)),
        mark=ReceiptMark(version=mark.version, digest=mark.digest, epoch=mark.epoch) if mark else None,
    )


def _name(ref: ReleaseRef) -> ReleaseName:
    return ReleaseName(version=ref.version, digest=ref.digest)


def _service(image: EdgeImage | None, there: frozenset[str]) -> OwnService | None:
    if image is None or image.digest not in there:
        return None
    return OwnService(digest=image.digest, version=image.version if _LABEL.fullmatch(image.version) else "")


def _sign(state_dir: Path, receipt: Receipt) -> bytes:
    key = site_key(state_dir)
    return seal(receipt, key.sign(receipt.to_bytes(), ec.ECDSA(hashes.SHA256())))


def _write(out: Path, data: bytes) -> None:
    """One step, and what a killed run left of the same name goes."""
    for draft in out.parent.glob(f".{glob.escape(out.name)}.{'[0-9a-f]' * 8}.new"):
        draft.unlink(missing_ok=True)
    write_durably(out, data, None)
