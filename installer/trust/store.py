"""The host's trust: provisioned once, before the first bundle, with a fingerprint that came by another way.

::

    trust/
      root.json              the root in force
      first                  the fingerprint that was typed when the first one was provisioned
      roots/<version>.root.json   every root that was walked, from the first on

The root in force must be the one that the walk from the first root leads to: a root that somebody put in its place, or
damage to either, is noticed. A host that sealift 0.1.0 provisioned has ``root.json`` alone; it gets the rest with the
next root.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from installer.bundle.digest import Digest
from installer.bundle.roots import ROOT_NAME, root_member, walk
from installer.bundle.trust import MAX_ROOT_BYTES, TrustPolicy
from installer.durable import make_folder, tidy, write_durably
from installer.errors import SealiftError
from installer.look.foothold import refuse_unsafe
from installer.site.secretfiles import fingerprint_key
from installer.trust.sitekey import site_key

_ROOT: Final = "root.json"
_FIRST: Final = "first"
_ROOTS: Final = "roots"


def provision(state_dir: Path, source: Path, fingerprint: str) -> TrustPolicy:
    """Trust the root in ``source`` if its SHA-256 is ``fingerprint``; again with the same root changes nothing.

    Raises ``fingerprint-mismatch``, ``trust-exists``, ``root-not-self-signed`` (5), ``root-malformed`` (3).
    """
    raw = _read(source)
    actual = Digest.of(raw)
    if str(actual) != fingerprint.strip().lower():
        raise SealiftError(
            "fingerprint-mismatch",
            f"{source} has the fingerprint {actual}, not the one you typed",
            hint="compare with the fingerprint on paper; if the paper is right, this file is not the root of trust",
        )
    policy = TrustPolicy.from_root(raw, str(source))
    place = state_dir / "trust" / _ROOT
    if place.exists() and place.read_bytes() != raw:
        raise SealiftError(
            "trust-exists",
            f"this host trusts another root already: {Digest.of(place.read_bytes())}",
            hint="a newer root comes with sealift trust update, signed by the holders of this one; a host that changes "
            "hands starts with a new state dir",
        )
    make_folder(state_dir)  # 0700: other people on the host have no business in it
    refuse_unsafe(state_dir)  # somebody may have been quicker, where everybody may make folders
    if not (place.parent / _FIRST).exists() or not place.exists():
        _anchor(place.parent, policy)
    write_durably(place, raw, 0o600)
    fingerprint_key(state_dir)  # both keys are made now, so that a later refusal has written nothing
    site_key(state_dir)
    return policy


def has_trust(state_dir: Path) -> bool:
    """Whether somebody told this host whom to trust."""
    return (state_dir / "trust" / _ROOT).exists()


def load_policy(state_dir: Path) -> TrustPolicy:
    """The root in force. Raises ``no-trust-provisioned`` or ``trust-damaged`` (5)."""
    place = state_dir / "trust" / _ROOT
    if not place.exists():
        raise SealiftError(
            "no-trust-provisioned",
            "this host has not been told whom to trust",
            hint="once per host: sealift trust init root.json --fingerprint sha256:… (the fingerprint from the vendor, "
            "by another way than this media)",
        )
    try:
        policy = TrustPolicy.from_root(_read(place), str(place))
    except SealiftError as error:
        raise _damaged(f"{place}: {error.message}") from error
    return _walked_to(place.parent, policy) if (place.parent / _FIRST).exists() else policy


def update(state_dir: Path, carried: Mapping[int, bytes], origin: str = "") -> TrustPolicy:
    """Walk from the root in force over the ``carried`` ones, keep each, and put the last in force; it is returned.

    Nothing is written where nothing is newer. Killed at any point, the old root is in force or the new one, and the
    next call goes on. For who holds the lock. Raises what :func:`walk` and :func:`load_policy` raise.
    """
    policy = load_policy(state_dir)
    walked = walk(policy, carried, origin)
    if not walked:
        return policy
    folder = state_dir / "trust"
    if not (folder / _FIRST).exists():
        _anchor(folder, policy)
    tidy(folder, folder / _ROOTS)
    for new in walked:
        _keep(folder, new)
    write_durably(folder / _ROOT, walked[-1].raw or b"", 0o600)  # the pointer last
    return load_policy(state_dir)


def first_fingerprint(state_dir: Path) -> str | None:
    """The fingerprint that was typed here; None on a host that an older sealift provisioned."""
    place = state_dir / "trust" / _FIRST
    return place.read_text(encoding="ascii").strip() if place.exists() else None


def _anchor(folder: Path, policy: TrustPolicy) -> None:
    """Note ``policy`` as the first root of this host."""
    make_folder(folder)
    _keep(folder, policy)
    write_durably(folder / _FIRST, f"{Digest.of(policy.raw or b'')}\n".encode("ascii"), 0o600)


def _keep(folder: Path, policy: TrustPolicy) -> None:
    make_folder(folder / _ROOTS)
    write_durably(folder / _ROOTS / _name(policy.root_version), policy.raw or b"", 0o600)


def _name(version: int) -> str:
    return root_member(version).removeprefix("trust/")


def _walked_to(folder: Path, policy: TrustPolicy) -> TrustPolicy:
    """``policy``, if the kept roots lead to it; it knows then whom they have revoked."""
    kept = {
        int(found[1]): _read(path)
        for path in (folder / _ROOTS).glob("*.root.json")
        if (found := ROOT_NAME.fullmatch(f"trust/{path.name}"))
    }
    first = (folder / _FIRST).read_text(encoding="ascii", errors="replace").strip()
    begin = next((raw for _, raw in sorted(kept.items()) if str(Digest.of(raw)) == first), None)
    if begin is None:
        raise _damaged(f"the root that was provisioned, {first}, is not among those kept in {folder / _ROOTS}")
    try:
        here = TrustPolicy.from_root(begin, str(folder / _ROOTS))
        up_to_it = {version: raw for version, raw in kept.items() if version <= policy.root_version}
        here = (here, *walk(here, up_to_it))[-1]
    except SealiftError as error:
        raise _damaged(f"the kept roots in {folder / _ROOTS} are no chain: {error.message}") from error
    if here.raw != policy.raw:
        raise _damaged(f"{policy.origin} is not the root that the kept ones lead to")
    return replace(here, origin=policy.origin)


def _damaged(why: str) -> SealiftError:
    return SealiftError(
        "trust-damaged",
        f"the host's root of trust is damaged or was tampered with: {why}",
        hint="restore the folder trust of the state dir from its backup; without one, ask the vendor for the root and "
        "its fingerprint and begin with a new state dir",
    )


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise SealiftError(
            "root-malformed", f"cannot read {path}: {error.strerror}", hint="name the root.json that you were given"
        ) from error
