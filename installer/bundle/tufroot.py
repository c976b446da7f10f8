"""python-tuf's view of a root: parsing, canonical bytes, thresholds of signatures. Its import costs 0.1 s."""

from __future__ import annotations

from typing import Any, NoReturn

from securesystemslib.exceptions import Error as SecuresystemslibError
from securesystemslib.exceptions import UnverifiedSignatureError
from securesystemslib.signer import KEY_FOR_TYPE_AND_SCHEME, Key, Signature  # type: ignore[attr-defined]
from tuf.api.exceptions import RepositoryError
from tuf.api.metadata import Metadata, Root  # type: ignore[attr-defined]

from installer.bundle.signers import IDENTITY_KEYTYPE, IDENTITY_SCHEME

UNREADABLE = (RepositoryError, SecuresystemslibError, ValueError, KeyError, TypeError, AttributeError)
"""What python-tuf raises of metadata that is none."""


class IdentityKey(Key):
    """An identity among the keys of a root. It never verifies metadata: the library's own class would go online."""

    @classmethod
    def from_dict(cls, keyid: str, key_dict: dict[str, Any]) -> IdentityKey:
        keytype, scheme, keyval = cls._from_dict(key_dict)
        return cls(keyid, keytype, scheme, keyval, key_dict)

    def to_dict(self) -> dict[str, Any]:
        return self._to_dict()

    def verify_signature(self, signature: Signature, data: bytes) -> NoReturn:
        raise UnverifiedSignatureError("an identity signs no metadata")


KEY_FOR_TYPE_AND_SCHEME[(IDENTITY_KEYTYPE, IDENTITY_SCHEME)] = IdentityKey


def load(raw: bytes) -> Metadata[Root]:
    """Root metadata. Raises one of :data:`UNREADABLE`."""
    return Metadata.from_bytes(raw)


def signs_itself(metadata: Metadata[Root]) -> bool:
    """Whether a threshold of its own root keys has signed it. Raises one of :data:`UNREADABLE`."""
    root = metadata.signed
    return root.get_root_verification_result(None, metadata.signed_bytes, metadata.signatures).verified


def signed_by(metadata: Metadata[Root], holder: Metadata[Root]) -> set[str]:
    """Keyids of the root keys of ``holder`` whose signature over ``metadata`` holds."""
    return set(holder.signed.get_verification_result("root", metadata.signed_bytes, metadata.signatures).signed)
