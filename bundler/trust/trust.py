"""Makes roots of trust: TUF root metadata whose four fixed roles stand for ours (see installer.bundle.rootfile).

A root is drafted, then signed by each of its people where their key is, in any order; so is the one that follows it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key
from securesystemslib.signer import Signature, SSlibKey  # type: ignore[attr-defined]
from tuf.api.metadata import Key, Metadata, Role, Root  # type: ignore[attr-defined]
from tuf.api.serialization.json import JSONSerializer

from bundler.durable import write_new
from bundler.signing.sign import KeySigner
from installer.bundle.digest import Digest
from installer.bundle.rootfile import EXTENSION, NAME_FIELD
from installer.bundle.signature import key_fingerprint
from installer.bundle.signers import IDENTITY_KEYTYPE, IDENTITY_SCHEME
from installer.bundle.trust import ANY_PRODUCT, ROLES, Identity, PublicKey, Requirement, TrustPolicy
from installer.bundle.trust import Role as Rule
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
    ``root`` are further holders of the root key, who sign later; thresholds of 0 are those of the releases, or 1.
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
    root: Sequence[NamedKey] = ()
    installer_threshold: int = 0
    permit_threshold: int = 0
    version: int = 1

    def rules(self) -> dict[str, Rule]:
        """The four roles, by our names."""
        permit = self.permit or [key for key in self.release if isinstance(key, PublicKey)]
        return {
            "root": _rule(self.root, self.root_threshold),
            "release": _rule(self.release, self.threshold),
            "installer": _rule(
                self.installer or self.release,
                self.installer_threshold or (1 if self.installer else self.threshold),
            ),
            "permit": _rule(permit, self.permit_threshold or (1 if self.permit else self.threshold)),
        }

    @classmethod
    def of(cls, policy: TrustPolicy) -> RootPlan:
        """What would make the same root again."""
        rules, own = policy.roles, policy.root_role or Rule((), 1)
        return cls(
            release=rules["release"].signers,
            threshold=rules["release"].threshold,
            root_threshold=own.threshold,
            installer=rules["installer"].signers,
            permit=rules["permit"].keys,
            product=policy.product or ANY_PRODUCT,
            epoch=policy.epoch,
            requirements=policy.requirements,
            expired=policy.expired,
            keyless=policy.keyless,
            root=own.keys,
            installer_threshold=rules["installer"].threshold,
            permit_threshold=rules["permit"].threshold,
            version=policy.root_version,
        )


def make_root(
    plan: RootPlan, root_keys: Sequence[KeySigner], expires: datetime, also: Sequence[KeySigner] = ()
) -> bytes:
    """The bytes of a root that ``root_keys`` hold and have all signed, and ``also`` have (those of the root before).

    Same plan and keys, same bytes. Raises ``root-invalid`` (2) for thresholds that can't be met and repeated keys.
    """
    named = [PublicKey(key.spki, key.name) for key in root_keys]
    raw = sign_root(draft_root(replace(plan, root=[*named, *plan.root]), expires), [*root_keys, *also])
    TrustPolicy.from_root(raw, "the new root")
    return raw


def draft_root(plan: RootPlan, expires: datetime) -> bytes:
    """A root that nobody has signed yet. Raises ``root-invalid`` (2)."""
    rules = plan.rules()
    for name, rule in (*((f"{name} role", rule) for name, rule in rules.items()), *_named(plan.requirements)):
        _check_rule(name, rule)
    holders = [*rules.values(), *(one.rule for one in plan.requirements)]
    all_keys = {key.fingerprint.hex: key for rule in holders for key in rule.signers}
    root = Root(
        version=plan.version,
        spec_version=SPEC_VERSION,
        expires=expires.astimezone(UTC).replace(microsecond=0, tzinfo=UTC),
        keys={keyid: _tuf_key(key) for keyid, key in all_keys.items()},
        roles={
            ROLES.get(name, name): Role([key.fingerprint.hex for key in rule.signers], rule.threshold)
            for name, rule in rules.items()
        },
        consistent_snapshot=False,
        unrecognized_fields={EXTENSION: _extension(plan)},
    )
    return _bytes(Metadata(root))


def sign_root(raw: bytes, signers: Iterable[KeySigner]) -> bytes:
    """``raw``, signed by ``signers`` too. Signatures are sorted by keyid: one spelling for the same people."""
    metadata: Metadata[Root] = Metadata.from_bytes(raw)
    for signer in signers:
        keyid = key_fingerprint(signer.spki).hex
        metadata.signatures[keyid] = Signature(keyid, signer.sign(metadata.signed_bytes).hex())
    metadata.signatures = dict(sorted(metadata.signatures.items()))
    return _bytes(metadata)


def fingerprint(raw: bytes) -> Digest:
    """How a root file is called when it is provisioned: the digest of its bytes."""
    return Digest.of(raw)


def save_root(path: Path, raw: bytes) -> None:
    """Write a new root. Raises ``output-exists`` (2): a root that has been given out never changes."""
    if path.exists():
        raise SealiftError("output-exists", f"{path} exists: a root is never overwritten", hint="choose another --out")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_new(path, raw)


def _rule(keys: Sequence[Named], threshold: int) -> Rule:
    return Rule(
        tuple(key for key in keys if isinstance(key, PublicKey)),
        threshold,
        tuple(key for key in keys if isinstance(key, Identity)),
    )


def _named(requirements: Iterable[Requirement]) -> list[tuple[str, Rule]]:
    return [(f"requirement {one.name}", one.rule) for one in requirements]


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


def _check_rule(name: str, rule: Rule) -> None:
    distinct = len({key.fingerprint for key in rule.signers})
    if distinct != len(rule.signers):
        raise SealiftError("root-invalid", f"the {name} names one key twice", hint="name each key once")
    if not 1 <= rule.threshold <= distinct:
        raise SealiftError(
            "root-invalid",
            f"the {name} has {distinct} keys: a threshold of {rule.threshold} is not possible",
            hint=f"choose one from 1 to {distinct}" if distinct else "name a key",
        )


def _tuf_key(key: Named) -> Key:
    if isinstance(key, Identity):
        value = {"identity": key.identity, "issuer": key.issuer}
        return IdentityKey(key.fingerprint.hex, IDENTITY_KEYTYPE, IDENTITY_SCHEME, value, {NAME_FIELD: key.name})
    public = load_der_public_key(key.spki).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    value = {"public": public.decode("ascii")}
    return SSlibKey(key.fingerprint.hex, "ecdsa", "ecdsa-sha2-nistp256", value, {NAME_FIELD: key.name})


def _bytes(metadata: Metadata[Root]) -> bytes:
    return metadata.to_bytes(JSONSerializer(compact=False))
