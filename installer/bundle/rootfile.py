"""The root of trust as a file: TUF root metadata (TUF 1.0, section 4.3), read more strictly than TUF asks.

TUF fixes the names of its four roles; they stand here for: ``root`` root, ``targets`` releases, ``snapshot`` the
installer program, ``timestamp`` permits. Rules: the root is signed by a threshold of its own root keys; keys are ECDSA
P-256, each once and under its own fingerprint; releases and programs may be signed by identities too; what
``x-sealift`` says is closed, because a rule that is not understood must not be taken for none.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import Field, StringConstraints, ValidationError

from installer.bundle.fields import Closed, Name
from installer.bundle.problems import first_problem, only_problem, shown
from installer.bundle.signers import IDENTITY_KEYTYPE, IDENTITY_SCHEME, Identity, PublicKey, read_public_key
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.bundle.strictjson import canonical, parse
from installer.bundle.trust import ANY_PRODUCT, MAX_ROOT_BYTES, ROLES, Requirement, Role, TrustPolicy
from installer.errors import SealiftError

EXTENSION: Final = "x-sealift"
NAME_FIELD: Final = "x-sealift-name"
MAX_REQUIREMENTS: Final = 32
_TAKES_IDENTITIES: Final = frozenset({ROLES["release"], ROLES["installer"]})
Plain = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]+$", max_length=500)]


class RequirementRule(Closed):
    """One of ``x-sealift.requirements``; ``keys`` are keyids of the root."""

    name: Name
    role: Literal["release", "installer", "permit"] = "release"
    channels: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    threshold: int
    keys: tuple[str, ...]


class Extension(Closed):
    """``x-sealift``: what a root says beyond TUF, signed with it."""

    product: Name | Literal["*"]
    epoch: Annotated[int, Field(ge=1)] = 1
    expired: Literal["warn", "refuse"] = "warn"
    requirements: Annotated[tuple[RequirementRule, ...], Field(max_length=MAX_REQUIREMENTS)] = ()
    keyless: dict[str, Any] | None = None


class IdentityKey(Closed):
    """``keyval`` of a key that is an identity."""

    identity: Plain
    issuer: Plain


def read_root(raw: bytes, origin: str) -> TrustPolicy:
    """The policy of a root that is signed by its own root keys.

    Raises the ``root-…`` and ``json-…`` errors (3), ``root-not-self-signed`` (5).
    """
    return _read(raw, origin, draft=False)


def read_draft(raw: bytes, origin: str) -> TrustPolicy:
    """What a root says that may lack signatures: for who makes and signs it. Nothing may be judged by it.

    Raises the ``root-…`` and ``json-…`` errors (3).
    """
    return _read(raw, origin, draft=True)


def _read(raw: bytes, origin: str, *, draft: bool) -> TrustPolicy:
    if len(raw) > MAX_ROOT_BYTES:
        raise SealiftError("root-too-large", f"{origin} is larger than {MAX_ROOT_BYTES} bytes")
    value = parse(raw, origin)
    extension, signers = _check_rules(value, origin)
    if extension.keyless is not None:
        SigstoreRoot.read(extension.keyless, f"x-sealift.keyless of {origin}")
    root = _load(raw, origin, draft=draft)
    if root.to_dict() != value["signed"]:  # what is signed is what python-tuf writes, not what it read
        raise _refusal("root-malformed", origin, "something in it is not spelled as it was signed")
    roles = {name: _role(role.keyids, role.threshold, signers) for name, role in root.roles.items()}
    return TrustPolicy(
        origin=origin,
        product=None if extension.product == ANY_PRODUCT else extension.product,
        roles={ours: roles[tuf_name] for ours, tuf_name in ROLES.items()},
        root_version=root.version,
        expires=root.expires,
        requirements=tuple(_requirement(rule, signers) for rule in extension.requirements),
        epoch=extension.epoch,
        expired=extension.expired,
        keyless=extension.keyless,
        root_role=roles["root"],
        raw=raw,
    )


def version_of(raw: bytes, origin: str) -> int:
    """The version that a root claims; nothing else of it is looked at. Raises ``root-malformed``, ``root-too-large``
    and the ``json-…`` errors (3)."""
    if len(raw) > MAX_ROOT_BYTES:
        raise SealiftError("root-too-large", f"{origin} is larger than {MAX_ROOT_BYTES} bytes")
    value = parse(raw, origin)
    try:
        version = value["signed"]["version"]
    except (KeyError, TypeError) as error:
        raise _refusal("root-malformed", origin, f"it lacks {error}") from error
    if type(version) is not int:
        raise _refusal("root-malformed", origin, "its version is no number")
    return version


def _load(raw: bytes, origin: str, *, draft: bool) -> Any:
    """The root as python-tuf reads it, signed by its own keys unless it is a draft."""
    from installer.bundle import tufroot  # only reading a root is worth what its import costs

    try:
        metadata = tufroot.load(raw)
        verified = tufroot.signs_itself(metadata)  # by distinct keys: no two keyids here are one key
    except tufroot.UNREADABLE as error:
        raise _refusal("root-malformed", origin, str(error)) from error
    if not verified and not draft:
        raise SealiftError(
            "root-not-self-signed",
            f"{origin} is not signed by a threshold of its own root keys",
            hint="get root.json again from the people who made it",
        )
    return metadata.signed


def _check_rules(value: Any, origin: str) -> tuple[Extension, Mapping[str, PublicKey | Identity]]:
    """Our own rules, over and above TUF's, on the parsed value of a root."""
    try:
        signed = value["signed"]
        kind, version, roles, keys = signed["_type"], signed["version"], signed["roles"], signed["keys"]
        held = {name: (list(role["keyids"]), role["threshold"]) for name, role in roles.items()}
        publics = {keyid: (key["keytype"], key["scheme"], key["keyval"], key) for keyid, key in keys.items()}
        said = signed[EXTENSION]
    except (KeyError, TypeError, AttributeError) as error:
        raise _refusal("root-malformed", origin, f"it lacks {error}") from error
    if kind != "root":
        raise _refusal("root-type", origin, f"it is of type {kind}")
    if type(version) is not int:
        raise _refusal("root-malformed", origin, "its version is no number")
    extension = _extension(said, origin)
    signers = _check_keys(publics, origin)
    for name, (keyids, threshold) in held.items():
        _check_signers(f"the role {name}", keyids, threshold, signers, origin)
        if name not in _TAKES_IDENTITIES and _identities(keyids, signers):
            raise _refusal("root-identity", origin, f"the role {name} names an identity instead of a key")
    _check_requirements(extension.requirements, signers, origin)
    return extension, signers


def _extension(said: Any, origin: str) -> Extension:
    try:
        return Extension.model_validate_json(canonical(said))
    except ValidationError as error:
        error_id = "root-unknown-field" if only_problem(error, "extra_forbidden") else "root-malformed"
        raise _refusal(error_id, origin, f"{EXTENSION}: {first_problem(error)}") from error


def _check_signers(
    what: str, keyids: list[Any], threshold: Any, signers: Mapping[str, PublicKey | Identity], origin: str
) -> None:
    if len({str(keyid) for keyid in keyids}) != len(keyids):
        raise _refusal("root-key-twice", origin, f"a key stands twice in {what}")
    if type(threshold) is not int or not 1 <= threshold <= len(keyids):
        raise _refusal("root-threshold", origin, f"the threshold of {what} is zero or cannot be met")
    if any(str(keyid) not in signers for keyid in keyids):
        raise _refusal("root-malformed", origin, f"{what} names a key that is not there")


def _check_requirements(
    rules: Iterable[RequirementRule], signers: Mapping[str, PublicKey | Identity], origin: str
) -> None:
    names: set[str] = set()
    for rule in rules:
        what = f"the requirement {rule.name}"
        if rule.name in names:
            raise _refusal("root-requirement", origin, f"{what} stands twice")
        names.add(rule.name)
        if rule.role != "release" and rule.channels is not None:
            raise _refusal("root-requirement", origin, f"{what} names channels, which only releases have")
        _check_signers(what, list(rule.keys), rule.threshold, signers, origin)
        if rule.role == "permit" and _identities(rule.keys, signers):
            raise _refusal("root-identity", origin, f"{what} names an identity instead of a key")


def _check_keys(keys: Mapping[str, tuple[Any, Any, Any, Any]], origin: str) -> dict[str, PublicKey | Identity]:
    """Each key is P-256 or an identity, and is called by its own fingerprint, so none can stand under two names."""
    signers: dict[str, PublicKey | Identity] = {}
    for keyid, (keytype, scheme, keyval, key) in keys.items():
        name = _key_name(key, keyid)
        if keytype == IDENTITY_KEYTYPE:
            signers[keyid] = _identity(scheme, keyval, name, keyid, origin)
        else:
            signers[keyid] = _public_key(scheme, keyval, name, keyid, origin)
    spkis = [signer.spki for signer in signers.values() if isinstance(signer, PublicKey)]
    if len(set(spkis)) != len(spkis):
        raise _refusal("root-key-twice", origin, "one public key stands under two keyids")
    for keyid, signer in signers.items():
        if signer.fingerprint.hex != keyid:
            raise _refusal("root-keyid", origin, f"the keyid {keyid} is not the fingerprint of its key")
    return signers


def _public_key(scheme: Any, keyval: Any, name: str, keyid: str, origin: str) -> PublicKey:
    if scheme != "ecdsa-sha2-nistp256":
        raise _refusal("root-key", origin, f"{keyid} is not for ECDSA P-256")
    try:
        return PublicKey(read_public_key(str(keyval["public"]).encode("utf-8"), keyid), name)
    except SealiftError as error:
        raise _refusal("root-key", origin, error.message) from error
    except (KeyError, TypeError) as error:
        raise _refusal("root-malformed", origin, f"it lacks {error}") from error


def _identity(scheme: Any, keyval: Any, name: str, keyid: str, origin: str) -> Identity:
    if scheme != IDENTITY_SCHEME:
        raise _refusal("root-identity", origin, f"{keyid} is an identity of another scheme than {IDENTITY_SCHEME}")
    try:
        found = IdentityKey.model_validate_json(canonical(keyval))
    except ValidationError as error:
        raise _refusal("root-identity", origin, first_problem(error)) from error
    return Identity(found.identity, found.issuer, found.identity[:64] if name == keyid[:8] else name)


def _identities(keyids: Iterable[Any], signers: Mapping[str, PublicKey | Identity]) -> bool:
    return any(isinstance(signers.get(str(keyid)), Identity) for keyid in keyids)


def _role(keyids: Iterable[str], threshold: int, signers: Mapping[str, PublicKey | Identity]) -> Role:
    named = sorted((signers[keyid] for keyid in keyids), key=lambda signer: signer.fingerprint)
    return Role(
        tuple(signer for signer in named if isinstance(signer, PublicKey)),
        threshold,
        tuple(signer for signer in named if isinstance(signer, Identity)),
    )


def _requirement(rule: RequirementRule, signers: Mapping[str, PublicKey | Identity]) -> Requirement:
    channels = None if rule.channels is None else frozenset(rule.channels)
    return Requirement(rule.name, _role(rule.keys, rule.threshold, signers), rule.role, channels)


def _key_name(key: Any, keyid: str) -> str:
    name = key.get(NAME_FIELD, "")
    return name if isinstance(name, str) and name.isprintable() and len(name) <= 64 and name else keyid[:8]


def _refusal(error_id: str, origin: str, why: str) -> SealiftError:
    return SealiftError(error_id, f"{origin} is not a root of trust: {shown(why)}", hint="bundle trust init makes one")
