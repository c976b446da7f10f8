"""Roots as people make them: drafted by one, signed by each where their key is, followed by the next one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final, Literal

from bundler.signing.sign import KeySigner
from bundler.trust.trust import Named, RootPlan, draft_root, sign_root
from installer.bundle import tufroot
from installer.bundle.digest import Digest
from installer.bundle.rootfile import read_draft
from installer.bundle.roots import MAX_ROOTS, walk
from installer.bundle.trust import ANY_PRODUCT, PublicKey, Requirement, Role, Signer, TrustPolicy
from installer.errors import SealiftError
from installer.trust import view as trustview

_SHORTEST: Final = 8
"""Digits of a fingerprint that may stand for the whole."""


@dataclass(frozen=True)
class Change:
    """What becomes of the signers of one role; ``remove`` are names or fingerprints. A threshold of 0 stays."""

    add: Sequence[Named] = ()
    remove: Sequence[str] = ()
    threshold: int = 0

    def __bool__(self) -> bool:
        return bool(self.add or self.remove or self.threshold)


@dataclass(frozen=True)
class Rotation:
    """How the next root differs. ``revoke`` are taken out of everything; an epoch of 0 and None stay as they are."""

    root: Change = Change()
    release: Change = Change()
    installer: Change = Change()
    permit: Change = Change()
    revoke: Sequence[str] = ()
    require: Sequence[Requirement] = ()
    drop: Sequence[str] = ()
    epoch: int = 0
    expired: Literal["warn", "refuse"] | None = None
    keyless: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Standing:
    """A root and who has signed it so far: ``signed`` of its own keys; ``before`` is the root that it follows."""

    policy: TrustPolicy
    signed: tuple[PublicKey, ...]
    before: TrustPolicy | None = None
    signed_before: tuple[PublicKey, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether enough have signed, as far as can be told: version 2 and later need the root before them too."""
        return not any(self.missing())

    def missing(self) -> list[str]:
        """Sentences about who must still sign."""
        own = _missing("its own root keys", _role(self.policy), self.signed)
        if self.before is None:
            return own
        return own + _missing(
            f"the root keys of version {self.before.root_version}", _role(self.before), self.signed_before
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """For people: who may sign what, and who has signed this."""
        policy = self.policy
        found = [("root", "", f"version {policy.root_version}, epoch {policy.epoch}, for {policy.product or 'any'}")]
        found += (
            [("expires", "", f"{policy.expires:%Y-%m-%d}, then it {_WHEN[policy.expired]}")] if policy.expires else []
        )
        found += list(trustview.rows(policy))
        found += [("signed by", "", one.name) for one in {one.fingerprint: one for one in self._all()}.values()]
        found += [("not complete", "", line) for line in self.missing()]
        return found + ([("fingerprint", "", str(Digest.of(policy.raw or b"")))] if self.complete else [])

    def as_json(self) -> dict[str, Any]:
        """For scripts; the fingerprint is null until the root is complete, because each signature changes it."""
        policy = self.policy
        return {
            **trustview.facts(policy),
            "fingerprint": str(Digest.of(policy.raw or b"")) if self.complete else None,
            "product": policy.product or ANY_PRODUCT,
            "roles": {
                name: {
                    "threshold": role.threshold,
                    "keys": [Signer.of(one).as_json() for one in role.keys],
                    "identities": [Signer.of(one).as_json() for one in role.identities],
                }
                for name, role in trustview.roles_of(policy).items()
            },
            "signed": [Signer.of(one).as_json() for one in self.signed],
            "complete": self.complete,
            "missing": self.missing(),
            "follows": None
            if self.before is None
            else {
                "version": self.before.root_version,
                "signed": [Signer.of(one).as_json() for one in self.signed_before],
            },
        }

    def _all(self) -> tuple[PublicKey, ...]:
        return (*self.signed, *self.signed_before)


_WHEN: Final = {"warn": "warns", "refuse": "refuses"}


def standing(raw: bytes, origin: str, before: bytes | None = None, before_origin: str = "") -> Standing:
    """Who has signed the root in ``raw``, complete or not. Raises the ``root-…`` and ``json-…`` errors (3), and
    ``root-invalid`` (2) for a root ``before`` that it cannot follow."""
    policy = read_draft(raw, origin)
    metadata = tufroot.load(raw)
    signed = _by_keyid(policy, tufroot.signed_by(metadata, metadata))
    if before is None:
        return Standing(policy, signed)
    older = TrustPolicy.from_root(before, before_origin)
    if (older.root_version + 1, older.product) != (policy.root_version, policy.product) or older.epoch > policy.epoch:
        raise SealiftError(
            "root-invalid",
            f"{origin} does not follow {before_origin}: version, product or epoch do not fit",
            hint="name the root of the version before it with --after",
        )
    return Standing(policy, signed, older, _by_keyid(older, tufroot.signed_by(metadata, tufroot.load(before))))


def add_signatures(here: Standing, signers: Iterable[KeySigner]) -> bytes:
    """The root, signed by ``signers`` too. Raises ``root-invalid`` (2) for a key that is none of its holders'."""
    known = {one.fingerprint for role in (here.policy, here.before) if role is not None for one in _role(role).keys}
    listed = list(signers)
    for signer in listed:
        fingerprint = PublicKey(signer.spki, signer.name).fingerprint
        if fingerprint not in known:
            raise SealiftError(
                "root-invalid",
                f"the key {signer.name} ({fingerprint.short}) is no root key of {here.policy.origin}",
                hint="sign with a root key; for one that only the root before it names, say --after ROOT.JSON",
            )
    return sign_root(here.policy.raw or b"", listed)


def rotated(policy: TrustPolicy, rotation: Rotation, expires: datetime) -> bytes:
    """The root that follows ``policy``, which nobody has signed yet.

    Installer and permits go on following the releases where they did. Raises ``root-invalid`` (2) for thresholds that
    cannot be met any more, and for names that nobody has.
    """
    rules, plan = policy.roles, RootPlan.of(policy)
    release = _changed("release", rules["release"], rotation.release, rotation.revoke)
    installer = _changed("installer", rules["installer"], rotation.installer, rotation.revoke)
    permit = _changed("permit", rules["permit"], rotation.permit, rotation.revoke)
    root = _changed("root", _role(policy), rotation.root, rotation.revoke)
    _refuse_unknown(policy, rotation.revoke)
    installer_follows = rules["installer"] == rules["release"] and not rotation.installer
    permit_follows = rules["permit"].keys == rules["release"].keys and not rotation.permit
    permit_follows = permit_follows and rules["permit"].threshold == rules["release"].threshold
    return draft_root(
        replace(
            plan,
            release=release.signers,
            threshold=release.threshold,
            installer=() if installer_follows else installer.signers,
            installer_threshold=0 if installer_follows else installer.threshold,
            permit=() if permit_follows else permit.keys,
            permit_threshold=0 if permit_follows else permit.threshold,
            root=root.keys,
            root_threshold=root.threshold,
            requirements=_requirements(policy, rotation),
            epoch=rotation.epoch or policy.epoch,
            expired=rotation.expired or policy.expired,
            keyless=policy.keyless if rotation.keyless is None else rotation.keyless,
            version=policy.root_version + 1,
        ),
        expires,
    )


def chain(roots: Mapping[int, bytes], product: str) -> tuple[TrustPolicy, ...]:
    """The roots that a bundle shall carry, from the oldest one; each must follow the one before it.

    Raises ``root-invalid`` (2) for another product, and what :func:`~installer.bundle.roots.walk` raises.
    """
    if not roots:
        return ()
    if len(roots) > MAX_ROOTS:
        raise SealiftError(
            "root-invalid",
            f"{len(roots)} roots are more than the {MAX_ROOTS} that a bundle can carry",
            hint="leave out the oldest: hosts that need them get them by sealift trust update",
        )
    oldest = min(roots)
    first = TrustPolicy.from_root(roots[oldest], f"root version {oldest}")
    if first.product not in (None, product):
        raise SealiftError(
            "root-invalid", f"the roots are for {first.product}, and this is {product}", hint="carry its own roots"
        )
    return (first, *walk(first, roots))


def _role(policy: TrustPolicy) -> Role:
    return policy.root_role or Role((), 1)


def _by_keyid(policy: TrustPolicy, keyids: Iterable[str]) -> tuple[PublicKey, ...]:
    wanted = set(keyids)
    return tuple(one for one in _role(policy).keys if one.fingerprint.hex in wanted)


def _missing(what: str, role: Role, signed: Sequence[PublicKey]) -> list[str]:
    lacking = role.threshold - len(signed)
    if lacking <= 0:
        return []
    names = ", ".join(one.name for one in role.keys if one not in signed)
    return [f"{lacking} more of {what} must sign: {names}"]


def _is(one: Named, who: str) -> bool:
    """Whether somebody names ``one`` so: by name, by fingerprint, or by the first digits of it."""
    digits = who.removeprefix("sha256:")
    return who == one.name or (len(digits) >= _SHORTEST and one.fingerprint.hex.startswith(digits))


def _changed(name: str, role: Role, change: Change, revoke: Sequence[str]) -> Role:
    for who in change.remove:
        if not any(_is(one, who) for one in role.signers):
            names = ", ".join(one.name for one in role.signers)
            raise SealiftError("root-invalid", f"the {name} role has no {who}", hint=f"it has {names}")
    gone = (*change.remove, *revoke)
    kept = [one for one in (*role.signers, *change.add) if not any(_is(one, who) for who in gone)]
    keys = tuple(one for one in kept if isinstance(one, PublicKey))
    others = tuple(one for one in kept if not isinstance(one, PublicKey))
    return Role(keys, change.threshold or role.threshold, others)


def _requirements(policy: TrustPolicy, rotation: Rotation) -> list[Requirement]:
    known = {one.name for one in policy.requirements}
    for name in rotation.drop:
        if name not in known:
            raise SealiftError("root-invalid", f"there is no requirement {name}", hint=f"there is {known or 'none'}")
    replaced = {*rotation.drop, *(one.name for one in rotation.require)}
    kept = [one for one in policy.requirements if one.name not in replaced]
    return [
        replace(one, rule=_changed(one.name, one.rule, Change(), rotation.revoke)) for one in (*kept, *rotation.require)
    ]


def _refuse_unknown(policy: TrustPolicy, revoke: Sequence[str]) -> None:
    everybody = policy.everybody().values()
    for who in revoke:
        if not any(_is(one, who) for one in everybody):
            names = ", ".join(sorted({one.name for one in everybody}))
            raise SealiftError("root-invalid", f"nobody here is called {who}", hint=f"this root names {names}")
