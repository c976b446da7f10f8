"""Roots of one product, made in a line: who holds them, who signs them, whom they name."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from bundler.trust.trust import RootPlan, draft_root, sign_root
from installer.bundle.roots import walk
from installer.bundle.trust import PublicKey, TrustPolicy
from installer.errors import SealiftError
from tests.unit.trust.keys import EXPIRES, PAYLOAD, key, signed


def held(*names: str) -> tuple[PublicKey, ...]:
    """The public keys that belong to these names."""
    return tuple(PublicKey(key(name).spki, name) for name in names)


def root(
    version: int = 1,
    *release: str,
    holders: tuple[str, ...] = ("root",),
    signers: tuple[str, ...] = (),
    expires: datetime = EXPIRES,
    **plan: Any,
) -> bytes:
    """Root ``version`` for ``release`` keys, held by ``holders`` and signed by ``signers`` (else by all holders)."""
    plan = {"product": "shop", "version": version, "root": held(*holders), **plan}
    draft = draft_root(RootPlan(held(*(release or ("release",))), **plan), expires)
    return sign_root(draft, [key(name) for name in signers or holders])


def trusted(raw: bytes) -> TrustPolicy:
    """Its policy."""
    return TrustPolicy.from_root(raw, "root.json")


def refused(here: TrustPolicy, carried: dict[int, bytes]) -> SealiftError:
    """How the walk from ``here`` ends."""
    with pytest.raises(SealiftError) as caught:
        walk(here, carried)
    return caught.value


def names(policy: TrustPolicy, *people: str) -> set[str]:
    """Who of ``people`` counts as a signer of releases."""
    return {signer.name for signer in policy.judge("release", PAYLOAD, signed(*people))}
