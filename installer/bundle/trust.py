"""Whom to trust, as a value. Takes bytes, answers yes or raises; opens no file, asks no clock.

A policy is one public key, or a root of trust (:mod:`installer.bundle.rootfile`): roles with thresholds, and further
requirements that must be met besides, such as a customer's signature or two of three people for one channel.
A threshold counts *distinct* keys and identities by their fingerprint, however many files or names they have.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

from installer.bundle.digest import Digest
from installer.bundle.keyless import OF_STRANGERS, signer_of
from installer.bundle.signature import KeySignature, SignatureFile, parse_signature
from installer.bundle.signers import Identity, PublicKey, Signer, read_public_key
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.bundle.subject import claim_of
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
    "Revoked",
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
class Revoked:
    """Who stood in an older root and no longer does, since root ``version``."""

    signer: PublicKey | Identity
    version: int


@dataclass(frozen=True)
class TrustPolicy:
    """Who may sign what. ``origin`` says where the rule stands; ``product`` is None where any will do.

    Of a root: ``raw`` are its bytes, ``root_role`` signs the next one, ``epoch`` counts how often its holders undid a
    fast-forward, ``expired`` says whether an expired root refuses, ``keyless`` is the trusted root of sigstore (JSON),
    ``revoked`` are those whom older roots named, as far as the walk has seen them.
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
    revoked: Mapping[Digest, Revoked] = field(default_factory=dict)

    def judge(
        self, role: str, payload: bytes, signatures: Mapping[str, bytes], *, channel: str | None = None
    ) -> tuple[Signer, ...]:
        """The distinct trusted signers of ``payload``. ``signatures`` are raw signature files by name.

        The role's threshold must be met, and every requirement of that role for ``channel`` (without one: those that
        hold in every channel). Raises ``unsigned``, ``signature-of-another``, ``key-revoked``, ``no-valid-signature``,
        ``signature-wrong``, ``threshold-not-met`` or ``requirement-not-met`` (5), what :func:`parse_signature` raises
        (3), and, where nobody else has signed, what :func:`installer.bundle.keyless.signer_of` raises.
        """
        rule = self.roles[role]
        if not signatures:
            raise SealiftError(
                "unsigned", "nobody has signed this", hint=f"{self.place} wants a signature by {_wanted(rule)}"
            )
        parsed = {name: parse_signature(raw, name) for name, raw in sorted(signatures.items())}
        digest = Digest.of(payload)
        claimed = {name: sign for name, sign in parsed.items() if sign.digest == digest}
        if not claimed:
            raise SealiftError(
                "signature-of-another",
                f"the signatures here are over something else than this: {digest}",
                hint="the media is damaged, or was put together from two: get another copy",
            )
        further = [requirement for requirement in self.requirements if requirement.role == role]
        known = _distinct((rule, *(requirement.rule for requirement in further)))
        found = self._weigh(claimed, payload, known)
        if not found.good:
            raise self._nobody(rule, claimed, known.values(), found, payload)
        if _met(rule, found.good) < rule.threshold:
            raise self._short("threshold-not-met", "", rule, found)
        for requirement in further:
            if requirement.applies(channel) and _met(requirement.rule, found.good) < requirement.rule.threshold:
                what = f"the requirement {requirement.name} is not met: "
                raise self._short("requirement-not-met", what, requirement.rule, found)
        return tuple(Signer.of(signer) for _, signer in sorted(found.good.items()))

    def everybody(self) -> dict[Digest, PublicKey | Identity]:
        """Everybody who may sign anything, by fingerprint."""
        own = (self.root_role,) if self.root_role else ()
        return _distinct((*self.roles.values(), *own, *(one.rule for one in self.requirements)))

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

    def _weigh(
        self, claimed: Mapping[str, SignatureFile], payload: bytes, known: Mapping[Digest, PublicKey | Identity]
    ) -> _Weighed:
        """Who of ``known`` has signed ``payload``, by the files ``claimed``, all of which name it."""
        keys = [signer for signer in known.values() if isinstance(signer, PublicKey)]
        identities = [signer for signer in known.values() if isinstance(signer, Identity)]
        found = _Weighed()
        for name, sign in claimed.items():
            if isinstance(sign, KeySignature):
                signers: list[PublicKey | Identity] = [
                    key for key in keys if _hints_at(sign, key) and key.accepts(sign.signature, payload)
                ]
                found.good.update({signer.fingerprint: signer for signer in signers})
            elif identities:  # else nobody asks for them, and sigstore is not needed
                try:
                    signer = signer_of(sign, payload, identities, self._instance)
                    found.good[signer.fingerprint] = signer
                except SealiftError as error:
                    found.refused[name] = error
        return found

    @property
    def _instance(self) -> SigstoreRoot | None:
        return None if self.keyless is None else SigstoreRoot.read(self.keyless, self.place)

    def _nobody(
        self,
        rule: Role,
        claimed: Mapping[str, SignatureFile],
        known: Iterable[PublicKey | Identity],
        found: _Weighed,
        payload: bytes,
    ) -> SealiftError:
        """Why not one of ``claimed``, all of which name the right payload, counts."""
        hint = f"{self.place} wants {_wanted(rule)}; get undamaged media signed by them"
        if any(_hints_at(sign, signer) for sign in claimed.values() for signer in known):
            return SealiftError("signature-wrong", "a signature that names a trusted key is not by that key", hint=hint)
        gone = self._weigh(claimed, payload, {one: revoked.signer for one, revoked in self.revoked.items()}).good
        if gone:
            names = ", ".join(
                f"{_name(who)}, whom root version {self.revoked[one].version} revoked" for one, who in gone.items()
            )
            return SealiftError("key-revoked", f"nobody whom we trust has signed this, only {names}", hint=hint)
        if found.refused:
            error = min(found.refused.values(), key=lambda error: error.id in OF_STRANGERS)
            return SealiftError(
                error.id,
                error.message,
                hint=f"{error.hint}; {self.place} wants {_wanted(rule)}",
                details=found.lines() if len(found.refused) > 1 else (),
            )
        seen = ", ".join(sorted({claim_of(sign, short=True) for sign in claimed.values()}))
        return SealiftError("no-valid-signature", f"nobody whom we trust has signed this (signed by {seen})", hint=hint)

    def _short(self, error_id: str, what: str, rule: Role, found: _Weighed) -> SealiftError:
        """Too few of ``rule`` are among those ``found``."""
        missing = ", ".join(_name(signer) for signer in rule.signers if signer.fingerprint not in found.good)
        return SealiftError(
            error_id,
            f"{what}{_met(rule, found.good)} of {rule.threshold} needed signatures are valid",
            hint=f"{self.place} wants {_wanted(rule)}; not yet signed by {missing}: ask one of them to sign",
            details=found.lines(),
        )


@dataclass(frozen=True)
class _Weighed:
    """Signers by fingerprint, and why the certificates of other files, by name, do not count."""

    good: dict[Digest, PublicKey | Identity] = field(default_factory=dict)
    refused: dict[str, SealiftError] = field(default_factory=dict)

    def lines(self) -> tuple[str, ...]:
        return tuple(f"{name} does not count ({error.id}): {error.message}" for name, error in self.refused.items())


def _distinct(rules: Iterable[Role]) -> dict[Digest, PublicKey | Identity]:
    return {signer.fingerprint: signer for rule in rules for signer in rule.signers}


def _met(rule: Role, good: Collection[Digest]) -> int:
    """How many different signers of ``rule`` are among the ``good``."""
    return len({signer.fingerprint for signer in rule.signers} & set(good))


def _hints_at(sign: SignatureFile, signer: PublicKey | Identity) -> bool:
    """Whether ``sign`` says to be by this key; a certificate names its own."""
    return (
        isinstance(sign, KeySignature)
        and isinstance(signer, PublicKey)
        and sign.key_hint.hex() == signer.fingerprint.hex
    )


def _name(signer: PublicKey | Identity) -> str:
    return f"{signer.name} ({signer.fingerprint.short})"


def _wanted(rule: Role) -> str:
    return f"{rule.threshold} of: {', '.join(_name(signer) for signer in rule.signers)}"
