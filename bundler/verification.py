"""``bundle verify`` and ``bundle inspect``: what a file holds, and how much of that has been proved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Final

from bundler.media.kit import PROGRAM
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.beside import (
    PROGRAM_PATH,
    PROGRAM_SIGNATURE,
    Beside,
    PassedOver,
    read_signature_files,
    verify_with_countersignatures,
    weigh,
)
from installer.bundle.digest import Digest
from installer.bundle.encrypted import Unlock
from installer.bundle.keyless import OF_STRANGERS
from installer.bundle.packing import Delta, Packing, read_packing
from installer.bundle.parts import open_regular
from installer.bundle.release import Release
from installer.bundle.signature import parse_signature
from installer.bundle.subject import claim_of, claimed_signer
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import VerifiedRelease, check_content
from installer.errors import SealiftError
from installer.talk import Table, Talk, size

if TYPE_CHECKING:  # the build side and patches are nothing that `inspect` needs
    from bundler.delta.holdings import Holdings, OldBytes
    from bundler.delta.stepsbefore import StepsBefore

CHECKED: Final = ("signatures", "release.json", "files", "images", "archive")
BESIDE: Final = "install beside the bundle"
SIGNED_PROGRAM: Final = "signature of install"
_NOT_BY_THEM: Final = frozenset({"unsigned", "no-valid-signature", "threshold-not-met"}) | OF_STRANGERS


@dataclass(frozen=True)
class Verification:
    """A bundle whose every byte and signature held."""

    verified: VerifiedRelease
    checked: tuple[str, ...]
    not_checked: tuple[str, ...]
    passed_over: tuple[PassedOver, ...] = ()

    def as_json(self) -> dict[str, object]:
        release = self.verified.release
        return {
            "verified": True,
            "digest": str(self.verified.digest),
            "product": release.product,
            "version": release.version,
            "signers": [signer.as_json() for signer in self.verified.signers],
            "checked": list(self.checked),
            "not_checked": list(self.not_checked),
            "passed_over": self.passed_over_as_json(),
        }

    def passed_over_as_json(self) -> list[dict[str, str]]:
        """Files beside the bundle that do not count, and why."""
        return [{"name": item.name, "id": item.error.id, "message": item.error.message} for item in self.passed_over]

    def table(self) -> Table:
        release = self.verified.release
        rows = [
            ("verified", f"{release.product} {release.version} ({release.platform})"),
            ("digest", str(self.verified.digest)),
            *(("signed by", signer.line()) for signer in self.verified.signers),
            ("trusted by", self.verified.policy.place),
            ("checked", ", ".join(self.checked)),
            ("not checked", ", ".join(self.not_checked) or "nothing left"),
            *(("passed over", item.line()) for item in self.passed_over),
        ]
        return Table(("", ""), tuple(rows))


def verify_media(
    path: Path,
    policy: TrustPolicy,
    talk: Talk,
    *,
    demands_program: bool = False,
    now: datetime | None = None,
    have: Sequence[Holdings] = (),
    unlock: Unlock | None = None,
    before: StepsBefore | None = None,
) -> Verification:
    """Check every byte of a bundle, and of the program beside it when ``path`` is the media folder.

    ``demands_program``: the policy says who may sign the program, so it must be signed by them. A policy of one key
    says so only of releases: where that key has not signed the program, this is reported as not checked.
    A delta is checked with what ``have`` holds, and what ``before`` it was checked of the same kit: what it leaves out
    is looked up there, what it patches is rebuilt.
    Raises what :mod:`installer.bundle.verify` raises; ``digest-mismatch`` (4) for another program.
    """
    from bundler.delta.holdings import OldBytes
    from bundler.delta.stepsbefore import BothBases
    from installer.patching.rebuild import Rebuilder

    bundle = locate_bundle(path)
    old_bytes = OldBytes(place for one in have for place in one.bundles)
    with BundleReader(bundle, unlock=unlock) as reader, old_bytes as old:
        verified, passed_over = verify_with_countersignatures(reader, policy, bundle, now=now)
        known = before.digests if before else frozenset()
        held = known.union(*(one.digests for one in have))
        with talk.progress(f"checking {reader.path.name}", reader.size) as meter:
            rebuild = Rebuilder(BothBases(old, before) if before else old, Path(gettempdir()))
            sinks = (before,) if before else ()
            check_content(reader, verified, sinks, progress=meter.advance, have=held, rebuild=rebuild)
        elsewhere = _left_out(read_packing(reader.head.packing, verified.release), verified.release, old, known)
    program = bundle.parent / PROGRAM
    if not program.exists():
        return Verification(verified, CHECKED, elsewhere, passed_over)
    if not path.is_dir():
        return Verification(verified, CHECKED, (*elsewhere, BESIDE), passed_over)
    payload = _read_program(program, verified.release)
    signed, more = _program_is_signed(program.parent, payload, verified.policy, demands_program)
    checked = (*CHECKED, BESIDE, *((SIGNED_PROGRAM,) if signed else ()))
    not_checked = (*elsewhere, *(() if signed else (SIGNED_PROGRAM,)))
    return Verification(verified, checked, not_checked, (*passed_over, *more))


def _left_out(packing: Packing | Delta, release: Release, old: OldBytes, known: frozenset[str]) -> tuple[str, ...]:
    """Check what a delta leaves out where its bytes are at hand, unless its digest is ``known`` to be held right; what
    was not. Raises ``digest-mismatch`` (4)."""
    if not isinstance(packing, Delta):
        return ()
    unread = 0
    for name, member in packing.left_out(release).items():
        if name not in packing.absent or member.digest in known:
            continue
        hasher, found = hashlib.sha256(), False
        for chunk in old.same(name, member):
            hasher.update(chunk)
            found = True
        if not found and member.size:
            unread += 1
        elif f"sha256:{hasher.hexdigest()}" != member.digest:
            raise SealiftError(
                "digest-mismatch",
                f"{name} is damaged in the bundle that this delta builds on",
                hint="verify that bundle, and take another copy of it",
            )
    return (f"{unread} members that sites are said to hold",) if unread else ()


def _program_is_signed(
    folder: Path, payload: bytes, policy: TrustPolicy, demanded: bool
) -> tuple[bool, tuple[PassedOver, ...]]:
    """Whether the installer role's threshold has signed the program, and what in ``folder`` did not count.

    Raises ``unsigned``, ``signature-…``, ``no-valid-signature``, ``threshold-not-met`` (5), about the program.
    """
    found = read_signature_files(folder, PROGRAM_SIGNATURE, "", strays=False)
    weighed = weigh(found, payload, {}, policy, "installer")
    try:
        policy.judge("installer", payload, weighed.files)
    except SealiftError as error:
        if not demanded and error.id in _NOT_BY_THEM and not _forged(weighed):
            return False, weighed.passed_over
        first = next((item.error for item in weighed.passed_over if error.id == "unsigned"), error)
        raise SealiftError(
            first.id,
            f"{PROGRAM}: {first.message}",
            hint=error.hint,
            details=tuple(item.line() for item in weighed.passed_over),
        ) from error
    return True, weighed.passed_over


def _forged(weighed: Beside) -> bool:
    """Whether somebody passes something off as signed by a trusted key, or over this program."""
    return any(item.error.id in ("signature-wrong", "signature-of-another") for item in weighed.passed_over)


def inspect_media(
    path: Path, policy: TrustPolicy | None = None, *, now: datetime | None = None, unlock: Unlock | None = None
) -> tuple[Table, dict[str, object]]:
    """What the head of a bundle claims, for people and as JSON; with ``policy``, what its signers say.

    Reads the head alone, so it costs the same whatever the size. The content is not checked, and it says so.
    Raises what :func:`installer.bundle.verify.verify_release` raises.
    """
    bundle = locate_bundle(path)
    with BundleReader(bundle, unlock=unlock) as reader:
        head, file_size, encrypted = reader.head, reader.size, reader.encrypted
        verified = None if policy is None else verify_with_countersignatures(reader, policy, bundle, now=now)[0]
    release = Release.parse(head.release) if verified is None else verified.release
    packing = read_packing(head.packing, release)
    carrying = _carrying(packing, release)
    claims = {name: parse_signature(raw, name) for name, raw in sorted(head.signatures.items())}
    trusted = verified.signers if verified is not None else ()
    value: dict[str, object] = {
        "verified": False,
        "digest": str(Digest.of(head.release)),
        "size": file_size,
        "encrypted": encrypted,
        "signatures": [{"name": name, **claimed_signer(sign)} for name, sign in claims.items()],
        "signatures_hold": verified is not None,
        "packing": packing.model_dump(mode="json"),
        "signers": [signer.as_json() for signer in trusted],
        "release": release.model_dump(mode="json"),
    }
    rows = [
        ("product", f"{release.product} {release.version}, channel {release.channel}, {release.platform}"),
        ("digest", str(Digest.of(head.release))),
        ("created", f"{release.created} (a claim)"),
        ("file", size(file_size) + (" of an encrypted file" if encrypted else "")),
        *carrying,
        *(("signed by", signer.line()) for signer in trusted),
        *(
            ("claims to be signed by", f"{claim_of(sign)} in {name}")
            for name, sign in claims.items()
            if verified is None
        ),
        *(("service", _service(name, release)) for name in sorted(release.services)),
        *(
            ("entry point", f"{name}: {e.protocol} to {e.service}:{e.port}")
            for name, e in sorted(release.entry_points.items())
        ),
        *(("input", f"{name} ({value.type})") for name, value in sorted(release.inputs.items())),
        *(
            ("image", f"{i.name}  {i.reference}  {i.digest}  {size(sum(b.size for b in i.blobs))}")
            for i in release.images
        ),
        *(("file", f"{file.path}  {size(file.size)}") for file in release.files),
    ]
    title = "NOT VERIFIED: nobody has checked who signed this, or the content; bundle verify does"
    if verified is not None:
        title = f"signatures hold, by {verified.policy_origin}; the content is NOT checked: bundle verify does"
    return Table(("", ""), tuple(rows), title), value


def _carrying(packing: Packing | Delta, release: Release) -> list[tuple[str, str]]:
    """How a bundle carries its release, for people."""
    if not isinstance(packing, Delta):
        return []
    gone, carried = packing.left_out(release), packing.carried(release)
    patched = {patch.target: patch for patch in packing.patches}
    return [
        *(("a delta for sites with", label) for label in packing.since),
        ("carries", f"{len(carried)} members whole, {size(sum(member.size for member in carried.values()))}"),
        ("leaves out", f"{len(packing.absent)} members, {size(sum(gone[name].size for name in packing.absent))}"),
        ("patches", f"{len(patched)} layers with {size(sum(patch.size for patch in packing.patches))}"),
    ]


def contents(release: Release, parts: Sequence[tuple[str, int]]) -> Table:
    """What goes into a release, member by member, for ``--dry-run``."""
    title = f"{release.product} {release.version} for {release.platform}, channel {release.channel}, {release.created}"
    return Table(("member", "size"), tuple((name, size(count)) for name, count in parts), title)


def _service(name: str, release: Release) -> str:
    service = release.services[name]
    kind = "stateful, one copy" if service.state == "shared" else f"{service.replicas} of it"
    return f"{name}: image {service.image}, {kind}"


def _read_program(path: Path, release: Release) -> bytes:
    """The program beside the bundle, which must be the one that is listed. No more is read than that has bytes."""
    listed = next((file for file in release.files if file.path == PROGRAM_PATH), None)
    with open_regular(path) as file:
        data = file.read(listed.size + 1) if listed else b""
    if listed is None or listed.digest != str(Digest.of(data)):
        raise SealiftError(
            "digest-mismatch",
            f"{path} is not the program that the release lists",
            hint="do not run it; copy the media again from its source",
        )
    return data
