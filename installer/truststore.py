"""The host's trust: provisioned once, before the first bundle, with a fingerprint that came by another way."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from installer.bundle.digest import Digest
from installer.bundle.trust import MAX_ROOT_BYTES, TrustPolicy
from installer.durable import make_folder, write_durably
from installer.errors import SealiftError
from installer.foothold import refuse_unsafe
from installer.secretfiles import fingerprint_key
from installer.sitekey import site_key

_ROOT: Final = "root.json"


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
            hint="a newer root must be signed by the old one; a host that changes hands starts with a new state dir",
        )
    make_folder(state_dir)  # 0700: other people on the host have no business in it
    refuse_unsafe(state_dir)  # somebody may have been quicker, where everybody may make folders
    make_folder(place.parent)
    write_durably(place, raw, 0o600)
    fingerprint_key(state_dir)  # both keys are made now, so that a later refusal has written nothing
    site_key(state_dir)
    return policy


def has_trust(state_dir: Path) -> bool:
    """Whether somebody told this host whom to trust."""
    return (state_dir / "trust" / _ROOT).exists()


def load_policy(state_dir: Path) -> TrustPolicy:
    """The policy this host was given. Raises ``no-trust-provisioned`` or ``trust-damaged`` (5)."""
    place = state_dir / "trust" / _ROOT
    if not place.exists():
        raise SealiftError(
            "no-trust-provisioned",
            "this host has not been told whom to trust",
            hint="once per host: sealift trust init root.json --fingerprint sha256:… (the fingerprint from the vendor, "
            "by another way than this media)",
        )
    try:
        return TrustPolicy.from_root(_read(place), str(place))
    except SealiftError as error:
        raise SealiftError(
            "trust-damaged", f"the host's root of trust is damaged: {error.message}", hint=error.hint
        ) from error


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_ROOT_BYTES + 1)
    except OSError as error:
        raise SealiftError(
            "root-malformed", f"cannot read {path}: {error.strerror}", hint="name the root.json that you were given"
        ) from error
