"""Whom to trust, as a value. Takes bytes, answers yes or raises; opens no file, asks no clock.

A policy is one public key, or a root of trust (:mod:`installer.bundle.rootfile`): roles with thresholds, and further
requirements that must be met besides, such as a customer's signature or two of three people for one channel.
A threshold counts *distinct* keys and identities by their fingerprint, however many files or names they have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from installer.bundle.digest import Digest
from installer.bundle.signature import KeySignature, parse_signature
from installer.bundle.signers import Identity, PublicKey, Signer, read_public_key
from installer.errors import SealiftError

# Who can sign is imported from here; where it is defined is this package's own business.
__all__ = [
    "ANY_PRODUCT",
    "EXPIRES_SOON",
    "MAX_ROOT_BYTES",
    "ROLES",
    "Identity",
    "PublicKey",
    "Requirement",
    "Role",
    "Signer",
    "TrustPolicy",
    "read_public_key",
]

MAX_ROOT_BYTES: Final = 512 * 1024
ROLES: Final = {"release": "targets", "installer": "snapshot", "permit": "timestamp"}
ANY_PRODUCT: Final = "*"
EXPIRES_SOON: Final = timedelta(days=180)


@dataclass(frozen=True)
class Role:
    """``threshold`` of these keys and identities must sign."""

    keys: tuple[PublicKey, ...]
    threshold: int
    identities: tuple[Identity, ...] = ()

    @property
    def signers(self) -> tuple[PublicKey | Identity, ...]:
        return (*self.keys, *self.identities)


@dataclass(frozen=True)
class Requirement:
    """What must be met besides the threshold of ``role``; ``channels`` are those it is for, None for all."""

    name: str
    rule: Role
    role: str = "release"
    channels: frozenset[str] | None = None

    def applies(self, channel: str | None) -> bool:
        """Whether it is for ``channel``; None asks for what holds in every channel."""
        return self.channels is None or channel in self.channels


@dataclass(frozen=True)
class TrustPolicy:
    """Who may sign what. ``origin`` says where the rule stands; ``product`` is None where any will do.

    Of a root: ``raw`` are its bytes, ``root_role`` signs the next one, ``epoch`` counts how often its holders undid a
    fast-forward, ``expired`` says whether an expired root refuses, ``keyless`` is the trusted root of sigstore (JSON).
    """

    origin: str
    product: str | None
    roles: Mapping[str, Role]
    root_version: int = 1
    expires: datetime | None = None
    requirements: tuple[Requirement, ...] = ()
    epoch: int = 1
    expired: Literal["warn", "refuse"] = "warn"
    keyless: Mapping[str, Any] | None = None
    root_role: Role | None = None
    raw: bytes | None = field(default=None, repr=False)

    def judge(
        self, role: str, payload: bytes, signatures: Mapping[str, bytes], *, channel: str | None = None
    ) -> tuple[Signer, ...]:
        """The distinct trusted signers of ``payload``. ``signatures`` are raw signature files by name.

        The role's threshold must be met, and every requirement of that role for ``channel`` (without one: those that
        hold in every channel). Raises ``unsigned``, ``signature-of-another``, ``no-valid-signature``,
        ``signature-wrong``, ``threshold-not-met`` or ``requirement-not-met`` (5), and what :func:`parse_signature`
        raises (3).
        """
        rule = self.roles[role]
        if not signatures:
            raise SealiftError(
                "unsigned", "nobody has signed this", hint=f"{self.place} wants a signature by {_wanted(rule)}"
            )
        parsed = [parse_signature(raw, name) for name, raw in sorted(signatures.items())]
        digest = Digest.of(payload)
        claimed = [sign for sign in parsed if sign.digest == digest]
        if not claimed:
            raise SealiftError(
                "signature-of-another",
                f"the signatures here are over something else than this: {digest}",
                hint="the media is damaged, or was put together from two: get another copy",
            )
        further = [requirement for requirement in self.requirements if requirement.role == role]
        known = _distinct((rule, *(requirement.rule for requirement in further)))
        good = {
            fingerprint: signer
            for fingerprint, signer in known.items()
            if any(_has_signed(signer, sign, payload) for sign in claimed)
        }
        if not good:
            raise self._nobody(rule, claimed, known.values())
        if _met(rule, good) < rule.threshold:
            raise self._short("threshold-not-met", "", rule, good)
        for requirement in further:
            if requirement.applies(channel) and _met(requirement.rule, good) < requirement.rule.threshold:
                what = f"the requirement {requirement.name} is not met: "
                raise self._short("requirement-not-met", what, requirement.rule, good)
        return tuple(Signer(fingerprint, signer.name) for fingerprint, signer in sorted(good.items()))

    @property
    def place(self) -> str:
        """Where the rule stands, for messages."""
        return self.origin if self.raw is None else f"{self.origin} (root version {self.root_version})"

    def expiry_notice(self, now: datetime) -> str | None:
        """What people should know about the root's expiry, from 180 days ahead; never raises."""
        if self.expires is None or now + EXPIRES_SOON < self.expires:
            return None
        if now < self.expires:
            left = (self.expires - now).days
            return f"{self.place} expires on {self.expires:%Y-%m-%d}, in {left} days: ask the vendor for a newer root"
        return f"{self.place} has expired on {self.expires:%Y-%m-%d}: ask the vendor for a newer root"

    def refuse_expired(self, now: datetime | None) -> None:
        """Raises ``root-expired`` (5) where the root has expired and says itself that this refuses.

        Where nobody says what time it is, such a root counts as expired.
        """
        if self.expired == "refuse" and (now is None or self.expires is None or self.expires <= now):
            when = f" on {self.expires:%Y-%m-%d}" if self.expires else ""
            raise SealiftError(
                "root-expired",
                f"{self.place} has expired{when}, and it says that nothing comes in from then on",
                hint="bring a newer root from the vendor: sealift trust update FILE, or media that carries it; "
                "if the date here is wrong, set the clock of this host",
            )

    @classmethod
    def from_key(cls, pem: bytes, name: str) -> TrustPolicy:
        """A policy that trusts one key for releases. Raises ``key-unreadable`` (2)."""
        role = Role((PublicKey(read_public_key(pem, name), name),), 1)
        return cls(origin=name, product=None, roles={"release": role, "installer": role})

    @classmethod
    def from_root(cls, raw: bytes, origin: str) -> TrustPolicy:
        """The policy of a TUF root that is signed by its own root keys.

        Raises the ``root-…`` and ``json-…`` errors (3), ``root-not-self-signed`` (5).
        """
        from installer.bundle.rootfile import read_root

        return read_root(raw, origin)

    def _nobody(
        self, rule: Role, signatures: Sequence[KeySignature], known: Iterable[PublicKey | Identity]
    ) -> SealiftError:
        """Why not one of ``signatures``, all of which name the right payload, counts."""
        hint = f"{self.place} wants {_wanted(rule)}; get undamaged media signed by them"
        if any(_hints_at(sign, signer) for sign in signatures for signer in known):
            return SealiftError("signature-wrong", "a signature that names a trusted key is not by that key", hint=hint)
        seen = ", ".join(sorted({Digest(sign.key_hint.hex()).short for sign in signatures}))
        return SealiftError("no-valid-signature", f"nobody whom we trust has signed this (signed by {seen})", hint=hint)

    def _short(self, error_id: str, what: str, rule: Role, good: Collection[Digest]) -> SealiftError:
        """Too few of ``rule`` are among the ``good``."""
        missing = ", ".join(_name(signer) for signer in rule.signers if signer.fingerprint not in good)
        return SealiftError(
            error_id,
            f"{what}{_met(rule, good)} of {rule.threshold} needed signatures are valid",
            hint=f"{self.place} wants {_wanted(rule)}; not yet signed by {missing}: ask one of them to sign",
        )


def _distinct(rules: Iterable[Role]) -> dict[Digest, PublicKey | Identity]:
    return {signer.fingerprint: signer for rule in rules for signer in rule.signers}


def _met(rule: Role, good: Collection[Digest]) -> int:
    """How many different signers of ``rule`` are among the ``good``."""
    return len({signer.fingerprint for signer in rule.signers} & set(good))


def _has_signed(signer: PublicKey | Identity, sign: KeySignature, payload: bytes) -> bool:
    """Whether ``sign`` is by ``signer``. An identity signs by certificates, which a key's signature cannot be."""
    return isinstance(signer, PublicKey) and _hints_at(sign, signer) and signer.accepts(sign.signature, payload)


def _hints_at(sign: KeySignature, signer: PublicKey | Identity) -> bool:
    return isinstance(signer, PublicKey) and sign.key_hint.hex() == signer.fingerprint.hex


def _name(signer: PublicKey | Identity) -> str:
    return f"{signer.name} ({signer.fingerprint.short})"


def _wanted(rule: Role) -> str:
    return f"{rule.threshold} of: {', '.join(_name(signer) for signer in rule.signers)}"
