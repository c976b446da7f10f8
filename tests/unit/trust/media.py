"""A media folder built by one key, for others to sign beside."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bundler.build import Request, build
from bundler.signing.countersign import Countersigned, countersign, read_subject
from bundler.signing.sign import Signer
from bundler.verification import Verification, verify_media
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import key

QUIET = Talk(quiet=True)


def write_key(folder: Path, name: str) -> Path:
    """The private key of that name, as a plain PEM file."""
    path = folder / f"{name}.key"
    private = key(name)._key
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return path


def make_kit(root: Path, *names: str) -> Path:
    """Build a media folder that these keys have signed."""
    manifest = make_product(root)
    keys = tuple(write_key(root, name) for name in names)
    request = Request("v2.1.0", root, keys=keys, installer=manifest.parent / "install", output=root / "out")
    return build(request, lambda _: "", QUIET).kit


@dataclass(frozen=True)
class Stick:
    """A copy of a media folder."""

    folder: Path

    @classmethod
    def of(cls, kit: Path, folder: Path) -> Stick:
        shutil.copytree(kit, folder)
        return cls(folder)

    @property
    def bundle(self) -> Path:
        return locate_bundle(self.folder)

    @property
    def statement(self) -> bytes:
        with BundleReader(self.bundle) as reader:
            return reader.head.release

    def sign(self, signer: Signer | str, name: str | None = None) -> Countersigned:
        """What ``bundle sign`` does."""
        signer = key(signer) if isinstance(signer, str) else signer
        return countersign(read_subject(self.folder), signer, name)

    def put(self, name: str, data: bytes) -> Path:
        """Any file in ``signatures/``."""
        path = self.folder / "signatures" / name
        path.write_bytes(data)
        return path

    def verify(self, policy: TrustPolicy, **more: Any) -> Verification:
        return verify_media(self.folder, policy, QUIET, **more)

    def signers(self, policy: TrustPolicy) -> list[str]:
        return sorted(signer.name for signer in self.verify(policy).verified.signers)

    def refusal(self, policy: TrustPolicy, **more: Any) -> SealiftError:
        with pytest.raises(SealiftError) as caught:
            self.verify(policy, **more)
        return caught.value

    def passed_over(self, policy: TrustPolicy) -> dict[str, str]:
        """Names of files that did not count, and the ids of why."""
        return {item.name: item.error.id for item in self.verify(policy).passed_over}


def changed(data: bytes, *path: str, value: object) -> bytes:
    """A signature file with another value at ``path``."""
    whole = json.loads(data)
    place = whole
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return json.dumps(whole).encode()
