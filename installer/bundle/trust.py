"""Whom to trust, as a value. Takes bytes, answers yes or raises; opens no file, asks no clock.

The root of trust is TUF root metadata (TUF specification 1.0, section 4.3). TUF fixes the names of its four roles;
they stand here for: ``root`` root, ``targets`` releases, ``snapshot`` the installer program, ``timestamp`` permits.
Rules: the root is signed by a threshold of its own root keys; a threshold counts *distinct public keys*
(SubjectPublicKeyInfo), never keyids; keys are ECDSA P-256; a root names its product, or ``*``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from installer.bundle.digest import Digest
from installer.bundle.problems import shown
from installer.bundle.signature import KeySignature, key_fingerprint, parse_signature
from installer.bundle.strictjson import parse
from installer.errors import SealiftError

MAX_ROOT_BYTES: Final = 512 * 1024
ROLES: Final = {"release": "targets", "installer": "snapshot", "permit": "timestamp"}
ANY_PRODUCT: Final = "*"


@dataclass(frozen=True)
class PublicKey:
    """A P-256 public key as SubjectPublicKeyInfo DER. ``name`` is for people."""

    spki: bytes
    name: str

    @property
    def fingerprint(self) -> Digest:
        return key_fingerprint(self.spki)

    def accepts(self, signature: bytes, payload: bytes) -> bool:
        """Whether ``signature`` (DER) is this key's over ``payload`` (ECDSA, SHA-256)."""
        key = load_der_public_key(self.spki)
        assert isinstance(key, ec.EllipticCurvePublicKey)  # noqa: S101 - read_public_key refused all others
        try:
            key.verify(signature, payload, ec.ECDSA(hashes.SHA256()))
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True)
class Signer:
    """A trusted key that has signed."""

    key: Digest
    name: str


@dataclass(frozen=True)
class Role:
    """``threshold`` of these keys must sign."""

    keys: tuple[PublicKey, ...]
    threshold: int


@dataclass(frozen=True)
class TrustPolicy:
    """Who may sign what. ``origin`` says where the rule stands; ``product`` is None where any will do."""

    origin: str
    product: str | None
    roles: Mapping[str, Role]
    root_version: int = 1
    expires: datetime | None = None

    def judge(self, role: str, payload: bytes, signatures: Mapping[str, bytes]) -> tuple[Signer, ...]:
        """The distinct trusted signers of ``payload``. ``signatures`` are raw signature files by name.

        Raises ``unsigned``, ``signature-of-another``, ``no-valid-signature``, ``signature-wrong`` or
        ``threshold-not-met`` (5), and what :func:`parse_signature` raises (3).
        """
        rule = self.roles[role]
        if not signatures:
            raise SealiftError(
                "unsigned", "nobody has signed this", hint=f"it needs a signature by {self._wanted(rule)}"
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
        good = {
            key.fingerprint: key
            for key in rule.keys
            if any(_hints_at(sign, key) and key.accepts(sign.signature, payload) for sign in claimed)
        }
        if not good:
            raise self._nobody(rule, claimed)
        if len(good) < rule.threshold:
            raise SealiftError(
                "threshold-not-met",
                f"{len(good)} of {rule.threshold} needed signatures are valid",
                hint=f"{self.origin} wants {self._wanted(rule)}; not yet signed by {self._missing(rule, good)}: "
                "ask one of them to sign",
            )
        return tuple(Signer(fingerprint, key.name) for fingerprint, key in sorted(good.items()))

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
        if len(raw) > MAX_ROOT_BYTES:
            raise SealiftError("root-too-large", f"{origin} is larger than {MAX_ROOT_BYTES} bytes")
        _check_rules(parse(raw, origin), origin)
        return _read_root(raw, origin)

    def _nobody(self, rule: Role, signatures: Sequence[KeySignature]) -> SealiftError:
        """Why not one of ``signatures``, all of which name the right payload, counts."""
        hint = f"{self.origin} wants {self._wanted(rule)}; get undamaged media signed by them"
        if any(_hints_at(sign, key) for sign in signatures for key in rule.keys):
            return SealiftError("signature-wrong", "a signature that names a trusted key is not by that key", hint=hint)
        seen = ", ".join(sorted({Digest(sign.key_hint.hex()).short for sign in signatures}))
        return SealiftError("no-valid-signature", f"nobody whom we trust has signed this (signed by {seen})", hint=hint)

    @staticmethod
    def _missing(rule: Role, good: Collection[Digest]) -> str:
        return ", ".join(f"{key.name} ({key.fingerprint.short})" for key in rule.keys if key.fingerprint not in good)

    @staticmethod
    def _wanted(rule: Role) -> str:
        names = ", ".join(f"{key.name} ({key.fingerprint.short})" for key in rule.keys)
        return f"{rule.threshold} of: {names}"


def read_public_key(pem: bytes, name: str) -> bytes:
    """SPKI DER of a PEM P-256 public key. Raises ``key-unreadable`` (2)."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise SealiftError(
            "key-unreadable", f"{name} is not a PEM public key", hint="bundle keygen makes one"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise SealiftError("key-unreadable", f"{name} is not an ECDSA P-256 key", hint="bundle keygen makes one")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _hints_at(sign: KeySignature, key: PublicKey) -> bool:
    return sign.key_hint.hex() == key.fingerprint.hex


def _check_rules(value: Any, origin: str) -> None:
    """Our own rules, over and above TUF's, on the parsed value of a root."""
    try:
        signed = value["signed"]
        kind, roles, keys = signed["_type"], signed["roles"], signed["keys"]
        held = {name: (list(role["keyids"]), role["threshold"]) for name, role in roles.items()}
        publics = {keyid: (key["scheme"], key["keyval"]["public"]) for keyid, key in keys.items()}
        product = signed["x-sealift"]["product"]
    except (KeyError, TypeError, AttributeError) as error:
        raise _root_refusal("root-malformed", origin, f"it lacks {error}") from error
    if kind != "root":
        raise _root_refusal("root-type", origin, f"it is of type {kind}")
    if not isinstance(product, str):
        raise _root_refusal("root-malformed", origin, "it names no product")
    _check_keys(publics, origin)
    for name, (keyids, threshold) in held.items():
        if len({str(keyid) for keyid in keyids}) != len(keyids):
            raise _root_refusal("root-key-twice", origin, f"a key stands twice in the role {name}")
        if type(threshold) is not int or not 1 <= threshold <= len(keyids):
            raise _root_refusal("root-threshold", origin, f"the threshold of {name} is zero or cannot be met")


def _check_keys(keys: Mapping[str, tuple[Any, Any]], origin: str) -> None:
    """Each key is P-256 and is called by its own fingerprint, so none can stand under two names."""
    spkis: dict[str, bytes] = {}
    for keyid, (scheme, public) in keys.items():
        if scheme != "ecdsa-sha2-nistp256":
            raise _root_refusal("root-key", origin, f"{keyid} is not for ECDSA P-256")
        try:
            spkis[keyid] = read_public_key(str(public).encode("utf-8"), keyid)
        except SealiftError as error:
            raise _root_refusal("root-key", origin, error.message) from error
    if len(set(spkis.values())) != len(spkis):
        raise _root_refusal("root-key-twice", origin, "one public key stands under two keyids")
    for keyid, spki in spkis.items():
        if key_fingerprint(spki).hex != keyid:
            raise _root_refusal("root-keyid", origin, f"the keyid {keyid} is not the fingerprint of its key")


def _root_refusal(error_id: str, origin: str, why: str) -> SealiftError:
    return SealiftError(error_id, f"{origin} is not a root of trust: {shown(why)}", hint="bundle trust init makes one")


def _read_root(raw: bytes, origin: str) -> TrustPolicy:
    # Imported here because they cost 0.1 s, which only reading a root is worth.
    from securesystemslib.exceptions import Error as SecuresystemslibError
    from tuf.api.exceptions import RepositoryError
    from tuf.api.metadata import Metadata
    from tuf.api.metadata import Root as TufRoot  # type: ignore[attr-defined]

    try:
        metadata: Metadata[TufRoot] = Metadata.from_bytes(raw)
        root = metadata.signed
        keys = {keyid: PublicKey(read_public_key(_pem(key), keyid), _key_name(key)) for keyid, key in root.keys.items()}
        roles = {
            name: Role(_by_fingerprint(keys[keyid] for keyid in role.keyids), role.threshold)
            for name, role in root.roles.items()
        }
        result = root.get_root_verification_result(None, metadata.signed_bytes, metadata.signatures)
    except (RepositoryError, SecuresystemslibError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise _root_refusal("root-malformed", origin, str(error)) from error
    if not result.verified:  # by distinct keys: no two keyids here are one key
        raise SealiftError(
            "root-not-self-signed",
            f"{origin} is not signed by a threshold of its own root keys",
            hint="get root.json again from the people who made it",
        )
    product = root.unrecognized_fields["x-sealift"]["product"]
    return TrustPolicy(
        origin=origin,
        product=None if product == ANY_PRODUCT else product,
        roles={ours: roles[tuf_name] for ours, tuf_name in ROLES.items()},
        root_version=root.version,
        expires=root.expires,
    )


def _by_fingerprint(keys: Iterable[PublicKey]) -> tuple[PublicKey, ...]:
    return tuple(sorted(keys, key=lambda key: key.fingerprint))


def _pem(key: Any) -> bytes:
    return str(key.keyval["public"]).encode("ascii")


def _key_name(key: Any) -> str:
    name = key.unrecognized_fields.get("x-sealift-name", "")
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 64 and name else key.keyid[:8]
