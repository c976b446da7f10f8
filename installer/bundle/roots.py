"""Walking from one root of trust to the next (TUF 1.0, 5.3), so that a host of any age finds its own way. Pure.

Rules: version N+1 follows N, none is skipped; it is signed by a threshold of N's root keys and by one of its own, and
by nobody else; it is for the same product; its epoch is not lower. Versions that are not newer are passed over unread.
A newer root that breaks a rule refuses, it is not passed over: whoever put it there wanted something. Expiry is judged
on the last one alone, by who asks: what lies in between may have expired years ago.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from installer.bundle.digest import Digest
from installer.bundle.problems import shown
from installer.bundle.rootfile import read_root
from installer.bundle.strictjson import parse
from installer.bundle.trust import Revoked, TrustPolicy
from installer.errors import SealiftError

ROOT_NAME: Final = re.compile(r"trust/([1-9][0-9]{0,8})\.root\.json")
MAX_ROOTS: Final = 64
_HINT: Final = "get media from the vendor by a way you trust; sealift trust show says which root this host has"


def root_member(version: int) -> str:
    """The name of the member that carries root ``version``."""
    return f"trust/{version}.root.json"


def current(policy: TrustPolicy, carried: Mapping[int, bytes], origin: str = "") -> TrustPolicy:
    """``policy``, or the newest root that :func:`walk` reaches from it."""
    return (policy, *walk(policy, carried, origin))[-1]


def walk(policy: TrustPolicy, carried: Mapping[int, bytes], origin: str = "") -> tuple[TrustPolicy, ...]:
    """The roots that follow ``policy``, in order; ``carried`` are raw roots by the version that they are named for.

    A policy that is no root walks nowhere. ``origin`` says in messages where the roots lie. Raises ``root-skipped``,
    ``root-version``, ``root-chain``, ``root-signature``, ``root-product``, ``root-epoch`` (5), and what
    :func:`read_root` raises.
    """
    if policy.raw is None:
        return ()
    walked = [policy]
    for version in sorted(number for number in carried if number > policy.root_version):
        here = walked[-1]
        if version != here.root_version + 1:
            raise SealiftError(
                "root-skipped",
                f"root version {version} is here, but not version {here.root_version + 1}, which comes before it",
                hint=f"every root from version {here.root_version + 1} on is needed: {_HINT}",
            )
        walked.append(follow(here, carried[version], f"{origin}{root_member(version)}"))
    return tuple(walked[1:])


def follow(here: TrustPolicy, raw: bytes, origin: str) -> TrustPolicy:
    """The root in ``raw``, if it may follow ``here``, which is a root. Raises as :func:`walk`."""
    from installer.bundle import tufroot  # only reading a root is worth what its import costs

    new = read_root(raw, origin)
    if new.root_version != here.root_version + 1:
        raise _broken("root-version", origin, f"it says version {new.root_version}, not {here.root_version + 1}")
    metadata, before = tufroot.load(raw), tufroot.load(here.raw or b"")
    by_those_before = tufroot.signed_by(metadata, before)
    if len(by_those_before) < before.signed.roles["root"].threshold:
        raise _broken("root-chain", origin, f"it is not signed by a threshold of the root keys of {here.place}")
    if not _holds_no_more(parse(raw, origin), by_those_before | tufroot.signed_by(metadata, metadata)):
        raise _broken("root-signature", origin, "its signatures are not sorted, or hold one that says nothing")
    if new.product != here.product:
        raise _broken("root-product", origin, f"it is for {new.product or 'any product'}, not {here.product or 'any'}")
    if new.epoch < here.epoch:
        raise _broken("root-epoch", origin, f"its epoch is {new.epoch}, after {here.epoch}")
    return replace(new, revoked=_revoked(here, new))


def _holds_no_more(value: Any, good: Collection[str]) -> bool:
    """Whether a root holds what is signed, the ``good`` signatures (keyids) in their one spelling, and no bit more."""
    found = {one.get("keyid"): str(one.get("sig")).lower() for one in value["signatures"]}
    signatures = [{"keyid": keyid, "sig": found[keyid]} for keyid in sorted(good)]
    return bool(value == {"signatures": signatures, "signed": value["signed"]})


def _revoked(here: TrustPolicy, new: TrustPolicy) -> dict[Digest, Revoked]:
    """Who stood in a root up to ``here`` and stands nowhere in ``new``."""
    known = new.everybody()
    gone = {fingerprint: Revoked(signer, new.root_version) for fingerprint, signer in here.everybody().items()}
    return {fingerprint: one for fingerprint, one in {**gone, **here.revoked}.items() if fingerprint not in known}


def _broken(error_id: str, origin: str, why: str) -> SealiftError:
    return SealiftError(error_id, f"{origin} does not follow the root that is trusted here: {shown(why)}", hint=_HINT)
