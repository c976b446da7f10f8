"""Makes the root of trust: TUF root metadata whose four fixed roles stand for ours (see installer.bundle.trust)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import Key, Metadata, Role, Root  # type: ignore[attr-defined]
from tuf.api.serialization.json import JSONSerializer

from bundler.durable import write_new
from bundler.sign import KeySigner
from installer.bundle.digest import Digest
from installer.bundle.signature import key_fingerprint
from installer.bundle.trust import ANY_PRODUCT, ROLES, TrustPolicy
from installer.errors import SealiftError

SPEC_VERSION: Final = "1.0.31"
DEFAULT_DAYS: Final = 3653
"""Ten years: a ship must not brick."""


@dataclass(frozen=True)
class NamedKey:
    """A public key (SubjectPublicKeyInfo DER) and what people call it."""

    spki: bytes
    name: str


@dataclass(frozen=True)
class RootPlan:
    """Who may sign what. Installer and permits follow the releases unless keys of their own are named."""

    release: Sequence[NamedKey]
    threshold: int = 1
    root_threshold: int = 1
    installer: Sequence[NamedKey] = ()
    permit: Sequence[NamedKey] = ()
    product: str = ANY_PRODUCT
    epoch: int = 1


def make_root(plan: RootPlan, root_keys: Sequence[KeySigner], expires: datetime) -> bytes:
    """The bytes of a ``root.json`` of version 1, signed by every one of ``root_keys``.

    Same plan and keys, same bytes. Raises ``root-invalid`` (2) for thresholds that can't be met and repeated keys.
    """
    holders: dict[str, tuple[Sequence[NamedKey], int]] = {
        "root": ([NamedKey(key.spki, key.name) for key in root_keys], plan.root_threshold),
        ROLES["release"]: (plan.release, plan.threshold),
        ROLES["installer"]: (plan.installer or plan.release, 1 if plan.installer else plan.threshold),
        ROLES["permit"]: (plan.permit or plan.release, 1 if plan.permit else plan.threshold),
    }
    for role, (keys, threshold) in holders.items():
        _check_role({ours: tuf for tuf, ours in ROLES.items()}.get(role, role), keys, threshold)
    all_keys = {key.spki: key for keys, _ in holders.values() for key in keys}
    root = Root(
        version=1,
        spec_version=SPEC_VERSION,
        expires=expires.astimezone(UTC).replace(microsecond=0, tzinfo=UTC),
        keys={_keyid(key.spki): _tuf_key(key) for key in all_keys.values()},
        roles={
            role: Role([_keyid(key.spki) for key in keys], threshold) for role, (keys, threshold) in holders.items()
        },
        consistent_snapshot=False,
        unrecognized_fields={"x-sealift": {"product": plan.product, "epoch": plan.epoch}},
    )
    metadata: Metadata[Root] = Metadata(root)
    for signer in root_keys:
        keyid = _keyid(signer.spki)
        metadata.signatures[keyid] = Signature(keyid, signer.sign(metadata.signed_bytes).hex())
    raw = metadata.to_bytes(JSONSerializer(compact=False))
    TrustPolicy.from_root(raw, "the new root")
    return raw


def fingerprint(raw: bytes) -> Digest:
    """How a root file is called when it is provisioned: the digest of its bytes."""
    return Digest.of(raw)


def _check_role(name: str, keys: Sequence[NamedKey], threshold: int) -> None:
    distinct = len({key.spki for key in keys})
    if distinct != len(keys):
        raise SealiftError("root-invalid", f"the {name} role names one key twice", hint="name each key once")
    if not 1 <= threshold <= distinct:
        raise SealiftError(
            "root-invalid",
            f"the {name} role has {distinct} keys: a threshold of {threshold} is not possible",
            hint=f"choose one from 1 to {distinct}" if distinct else "name a key",
        )


def _keyid(spki: bytes) -> str:
    return key_fingerprint(spki).hex


def _tuf_key(key: NamedKey) -> Key:
    public = load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return SSlibKey(
        _keyid(key.spki),
        "ecdsa",
        "ecdsa-sha2-nistp256",
        {"public": public.decode("ascii")},
        {"x-sealift-name": key.name},
    )


def save_root(path: Path, raw: bytes) -> None:
    """Write a new root. Raises ``output-exists`` (2): a root that has been given out never changes."""
    if path.exists():
        raise SealiftError("output-exists", f"{path} exists: a root is never overwritten", hint="choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, raw)
