"""Releases this host has kept: statement, signatures, documents, rendered configuration. Read again before any use.

::

    releases/<product>/<version>-<digest8>-<config8>/
      release.json  signatures/*      as signed; verified again by today's trust before they are believed
      files/                          templates, documents, changelog, by their path in the bundle
      rendered/                       configuration and sealift.{base,blue,green}.yaml for compose
      kept.json                       digest of every file above: what was damaged on this disk is noticed
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.bundle.signature import MAX_SIGNATURES
from installer.bundle.strictjson import canonical, parse
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import VerifiedRelease, verify_statement
from installer.durable import make_folder, write_durably, write_folder
from installer.errors import ExitCode, SealiftError
from installer.state.state import ReleaseRef

_LIST: Final = "kept.json"
RENDERED: Final = "rendered"


@dataclass(frozen=True)
class KeptRelease:
    """A kept release that was verified just now. ``folder`` holds its rendered configuration."""

    verified: VerifiedRelease
    ref: ReleaseRef
    folder: Path

    @property
    def release(self) -> Release:
        return self.verified.release


@dataclass(frozen=True)
class CommittedRelease:
    """A release that this host verified and committed once, unchanged since. It may be taken down, not brought back.

    Whether its signers count *today* is not asked: keys are revoked while what they signed serves. So this is no
    :class:`KeptRelease`, and nothing that brings a release into service takes it for one.
    """

    release: Release
    ref: ReleaseRef
    folder: Path


def ref_of(verified: VerifiedRelease, rendered: Mapping[str, bytes]) -> ReleaseRef:
    """How the state calls a release with this configuration."""
    return _ref(verified.release, rendered)


def release_folder(state_dir: Path, ref: ReleaseRef) -> Path:
    """Where a release is kept."""
    return state_dir / "releases" / ref.folder


def keep(
    state_dir: Path, verified: VerifiedRelease, files: Mapping[str, bytes], rendered: Mapping[str, bytes]
) -> KeptRelease:
    """Write the folder of a release, whole or not at all; one that is there and whole stays. Raises ``OSError``."""
    content = {"release.json": verified.raw, **verified.signatures}
    content |= {f"files/{path}": data for path, data in files.items()}
    content |= {f"{RENDERED}/{path}": data for path, data in rendered.items()}
    content[_LIST] = canonical({path: str(Digest.of(data)) for path, data in content.items()})
    ref = ref_of(verified, rendered)
    folder = release_folder(state_dir, ref)
    if _same(folder, content):
        return KeptRelease(verified, ref, folder)
    make_folder(folder.parent)
    # 0644 inside a 0700 folder: containers read their bind-mounted configuration as users of their own.
    write_folder(folder, {path: (data, 0o644) for path, data in content.items()})
    return KeptRelease(verified, ref, folder)


def _same(folder: Path, content: Mapping[str, bytes]) -> bool:
    """Whether just this is kept already: then nothing has to be replaced, which a kill could leave half done."""
    try:
        return all((folder / path).read_bytes() == data for path, data in content.items())
    except OSError:
        return False


def add_signatures(state_dir: Path, ref: ReleaseRef, verified: VerifiedRelease) -> tuple[str, ...]:
    """Keep signatures that came after the release was kept; names of the new files. Nothing is written without any.

    So a host whose root begins to demand a customer's signature gets it from the same release, countersigned.
    Raises ``kept-release-damaged`` (4).
    """
    folder = release_folder(state_dir, ref)
    try:
        listed: dict[str, str] = parse((folder / _LIST).read_bytes(), _LIST)
    except (OSError, SealiftError) as error:
        raise _damaged(ref, folder, str(error)) from error
    here = {digest for path, digest in listed.items() if path.startswith("signatures/")}
    new = {
        f"signatures/later-{digest.hex[:32]}.sigstore.json" if path in listed else path: data
        for path, data in verified.signatures.items()
        if str(digest := Digest.of(data)) not in here
    }
    names = tuple(new)[: max(0, MAX_SIGNATURES - len(here))]
    for name in names:
        write_durably(folder / name, new[name], 0o644)
        listed[name] = str(Digest.of(new[name]))
    if names:
        write_durably(folder / _LIST, canonical(listed), 0o644)
    return names


def load_kept(state_dir: Path, ref: ReleaseRef, policy: TrustPolicy) -> KeptRelease:
    """Read a kept release, verify it, and check every file of it.

    Raises ``kept-release-damaged`` (4), or what the verifier raises.
    """
    folder = release_folder(state_dir, ref)
    content = _content(folder, ref)
    signatures = {path: data for path, data in content.items() if path.startswith("signatures/")}
    verified = verify_statement(content.get("release.json", b""), signatures, policy)
    if ref_of(verified, _rendered(content)) != ref:
        raise _damaged(ref, folder, "it holds another release, or another configuration")
    return KeptRelease(verified, ref, folder)


def load_trusted(state_dir: Path, ref: ReleaseRef, policy: TrustPolicy) -> KeptRelease:
    """As :func:`load_kept`, to bring it into service again. Raises ``kept-release-untrusted`` (5) where today's root
    does not count who has signed it."""
    try:
        return load_kept(state_dir, ref, policy)
    except SealiftError as error:
        if error.exit_code is not ExitCode.UNTRUSTED:
            raise
        raise SealiftError(
            "kept-release-untrusted",
            f"{ref} is kept here, but its signatures do not hold any more ({error.id}): {error.message}",
            hint=f"ask the vendor to sign {ref.version} again; sealift install with those media adds the signatures to "
            "the kept release, which can be gone back to then; or install a newer release",
            details=error.details,
        ) from error


def load_committed(state_dir: Path, ref: ReleaseRef) -> CommittedRelease:
    """Read what this host committed as ``ref``, which comes from its own state. Raises ``kept-release-damaged`` (4)."""
    folder = release_folder(state_dir, ref)
    content = _content(folder, ref)
    raw = content.get("release.json", b"")
    if str(Digest.of(raw)) != ref.digest:
        raise _damaged(ref, folder, "it holds another release")
    release = Release.parse(raw)
    if _ref(release, _rendered(content)) != ref:
        raise _damaged(ref, folder, "it holds another configuration")
    return CommittedRelease(release, ref, folder)


def _content(folder: Path, ref: ReleaseRef) -> dict[str, bytes]:
    """Every file of a kept release, as it was written."""
    try:
        listed = parse((folder / _LIST).read_bytes(), _LIST)
        content = {path: (folder / path).read_bytes() for path in listed}
    except (OSError, SealiftError) as error:
        raise _damaged(ref, folder, str(error)) from error
    for path, data in content.items():
        if str(Digest.of(data)) != listed[path]:
            raise _damaged(ref, folder, f"{path} was altered")
    return content


def _rendered(content: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.removeprefix(f"{RENDERED}/"): data for path, data in content.items() if path.startswith(RENDERED)}


def _ref(release: Release, rendered: Mapping[str, bytes]) -> ReleaseRef:
    config = Digest.of(canonical({path: str(Digest.of(data)) for path, data in rendered.items()})).short
    return ReleaseRef(product=release.product, version=release.version, digest=str(release.digest), config=config)


def list_kept(state_dir: Path, product: str) -> list[ReleaseRef]:
    """The kept releases of a product, as their folders call themselves; :func:`load_kept` tells whether it is true."""
    found = []
    for place in sorted((state_dir / "releases" / product).glob("[!.]*/release.json")):
        version, _, config = place.parent.name.rsplit("-", 2)
        ref = ReleaseRef(product=product, version=version, digest=str(Digest.of(place.read_bytes())), config=config)
        if release_folder(state_dir, ref) == place.parent:
            found.append(ref)
    return found


def surplus(kept: Sequence[ReleaseRef], needed: Collection[ReleaseRef | None], keep: int) -> tuple[ReleaseRef, ...]:
    """Which of ``kept`` (oldest first) go so that ``keep`` remain; those ``needed`` always stay. Pure."""
    free = [ref for ref in kept if ref not in needed]
    return tuple(free[: max(0, len(kept) - keep)])


def _damaged(ref: ReleaseRef, folder: Path, why: str) -> SealiftError:
    return SealiftError(
        "kept-release-damaged",
        f"the kept release {ref} cannot be used: {why}",
        hint=f"install {ref.version} from its media again (folder {folder})",
    )
