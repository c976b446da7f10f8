"""A root of trust for people and for scripts: who may sign what, until when, and what is demanded besides. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from installer.bundle.digest import Digest
from installer.bundle.trust import Identity, PublicKey, Requirement, Role, TrustPolicy

Row = tuple[str, str, str]


def roles_of(policy: TrustPolicy) -> dict[str, Role]:
    """All roles, the root's own first."""
    own = {} if policy.root_role is None else {"root": policy.root_role}
    return own | dict(sorted(policy.roles.items()))


def rows(policy: TrustPolicy) -> Iterator[Row]:
    """What, how many, who: one row for each signer."""
    for name, rule in roles_of(policy).items():
        yield from _rows(name, rule)
    for one in policy.requirements:
        channels = "every channel" if one.channels is None else ", ".join(sorted(one.channels))
        what = f"besides, {one.name}" + (f" ({channels})" if one.role == "release" else f" ({one.role})")
        yield from _rows(what, one.rule)


def facts(policy: TrustPolicy) -> dict[str, Any]:
    """What scripts ask for, beyond the roles."""
    return {
        "version": policy.root_version,
        "epoch": policy.epoch,
        "expires": policy.expires.strftime("%Y-%m-%dT%H:%M:%SZ") if policy.expires else None,
        "expired": policy.expired,
        "fingerprint": None if policy.raw is None else str(Digest.of(policy.raw)),
        "requirements": [requirement(one) for one in policy.requirements],
        "keyless": policy.keyless is not None,
    }


def requirement(one: Requirement) -> dict[str, Any]:
    """A requirement as JSON."""
    return {
        "name": one.name,
        "role": one.role,
        "channels": None if one.channels is None else sorted(one.channels),
        "threshold": one.rule.threshold,
        "keys": [signer(who) for who in one.rule.signers],
    }


def signer(who: PublicKey | Identity) -> dict[str, str]:
    """A key or an identity as JSON; ``key`` is its fingerprint."""
    said = {"key": str(who.fingerprint), "name": who.name}
    return said | ({"identity": who.identity, "issuer": who.issuer} if isinstance(who, Identity) else {})


def described(who: PublicKey | Identity) -> str:
    """For people: the whole fingerprint of a key, identity and issuer of an identity."""
    if isinstance(who, Identity):
        return f"{who.name}: {who.identity}, by {who.issuer}"
    return f"{who.name} {who.fingerprint}"


def _rows(what: str, rule: Role) -> Iterator[Row]:
    for number, who in enumerate(rule.signers):
        yield ("" if number else what, "" if number else f"{rule.threshold} of {len(rule.signers)}", described(who))
