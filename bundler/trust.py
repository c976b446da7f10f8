"""Makes the root of trust: TUF root metadata whose four fixed roles stand for ours (see installer.bundle.trust)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import Key, Metadata, Role, Root  # type: ignore[attr-defined]
from tuf.api.serialization.json import JSONSerializer

from bundler.durable import write_new
from bundler.sign import KeySigner
from installer.bundle.digest import Digest
from installer.bundle.rootfile import EXTENSION, NAME_FIELD
from installer.bundle.signature import key_fingerprint
from installer.bundle.signers import IDENTITY_KEYTYPE, IDENTITY_SCHEME
from installer.bundle.trust import ANY_PRODUCT, ROLES, Identity, PublicKey, Requirement, TrustPolicy
from installer.bundle.tufroot import IdentityKey
from installer.errors import SealiftError

SPEC_VERSION: Final = "1.0.31"
DEFAULT_DAYS: Final = 3653
"""Ten years: a ship must not brick."""


NamedKey = PublicKey
Named = PublicKey | Identity


@dataclass(frozen=True)
class RootPlan:
    """Who may sign what. Installer and permits follow the releases unless keys of their own are named.

    Identities may sign releases and programs, never permits: those must hold without any log or timestamp.
    """

    release: Sequence[Named]
    threshold: int = 1
    root_threshold: int = 1
    installer: Sequence[Named] = ()
    permit: Sequence[NamedKey] = ()
    product: str = ANY_PRODUCT
    epoch: int = 1
    requirements: Sequence[Requirement] = ()
    expired: Literal["warn", "refuse"] = "warn"
    keyless: Mapping[str, Any] | None = None


def make_root(plan: RootPlan, root_keys: Sequence[KeySigner], expires: datetime) -> bytes:
    """The bytes of a ``root.json`` of version 1, signed by every one of ``root_keys``.

    Same plan and keys, same bytes. Raises ``root-invalid`` (2) for thresholds that can't be met and repeated keys.
    """
    keys_of_releases = [key for key in plan.release if isinstance(key, PublicKey)]
    holders: dict[str, tuple[Sequence[Named], int]] = {
        "root": ([NamedKey(key.spki, key.name) for key in root_keys], plan.root_threshold),
        ROLES["release"]: (plan.release, plan.threshold),
        ROLES["installer"]: (plan.installer or plan.release, 1 if plan.installer else plan.threshold),
        ROLES["permit"]: (plan.permit or keys_of_releases, 1 if plan.permit else plan.threshold),
    }
    for role, (keys, threshold) in holders.items():
        _check_role({ours: tuf for tuf, ours in ROLES.items()}.get(role, role), keys, threshold)
    for one in plan.requirements:
        _check_role(one.name, one.rule.signers, one.rule.threshold)
    groups = [*(keys for keys, _ in holders.values()), *(one.rule.signers for one in plan.requirements)]
    all_keys = {key.fingerprint.hex: key for keys in groups for key in keys}
    root = Root(
        version=1,
        spec_version=SPEC_VERSION,
        expires=expires.astimezone(UTC).replace(microsecond=0, tzinfo=UTC),
        keys={keyid: _tuf_key(key) for keyid, key in all_keys.items()},
        roles={
            role: Role([key.fingerprint.hex for key in keys], threshold) for role, (keys, threshold) in holders.items()
        },
        consistent_snapshot=False,
        unrecognized_fields={EXTENSION: _extension(plan)},
    )
    metadata: Metadata[Root] = Metadata(root)
    for signer in root_keys:
        keyid = key_fingerprint(signer.spki).hex
        metadata.signatures[keyid] = Signature(keyid, signer.sign(metadata.signed_bytes).hex())
    raw = metadata.to_bytes(JSONSerializer(compact=False))
    TrustPolicy.from_root(raw, "the new root")
    return raw


def fingerprint(raw: bytes) -> Digest:
    """How a root file is called when it is provisioned: the digest of its bytes."""
    return Digest.of(raw)


def _extension(plan: RootPlan) -> dict[str, Any]:
    """What the root says beyond TUF; what is as it would be without a word is left out."""
    said: dict[str, Any] = {"product": plan.product, "epoch": plan.epoch}
    if plan.expired != "warn":
        said["expired"] = plan.expired
    if plan.requirements:
        said["requirements"] = [_requirement(one) for one in plan.requirements]
    if plan.keyless is not None:
        said["keyless"] = dict(plan.keyless)
    return said


def _requirement(one: Requirement) -> dict[str, Any]:
    channels = {} if one.channels is None else {"channels": sorted(one.channels)}
    keys = [signer.fingerprint.hex for signer in one.rule.signers]
    return {"name": one.name, "role": one.role, **channels, "threshold": one.rule.threshold, "keys": keys}


def _check_role(name: str, keys: Sequence[Named], threshold: int) -> None:
    distinct = len({key.fingerprint for key in keys})
    if distinct != len(keys):
        raise SealiftError("root-invalid", f"the {name} role names one key twice", hint="name each key once")
    if not 1 <= threshold <= distinct:
        raise SealiftError(
            "root-invalid",
            f"the {name} role has {distinct} keys: a threshold of {threshold} is not possible",
            hint=f"choose one from 1 to {distinct}" if distinct else "name a key",
        )


def _tuf_key(key: Named) -> Key:
    if isinstance(key, Identity):
        value = {"identity": key.identity, "issuer": key.issuer}
        return IdentityKey(key.fingerprint.hex, IDENTITY_KEYTYPE, IDENTITY_SCHEME, value, {NAME_FIELD: key.name})
    public = load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    value = {"public": public.decode("ascii")}
    return SSlibKey(key.fingerprint.hex, "ecdsa", "ecdsa-sha2-nistp256", value, {NAME_FIELD: key.name})


def save_root(path: Path, raw: bytes) -> None:
    """Write a new root. Raises ``output-exists`` (2): a root that has been given out never changes."""
    if path.exists():
        raise SealiftError("output-exists", f"{path} exists: a root is never overwritten", hint="choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, raw)
