"""Digests as a type: ``sha256:`` and 64 lower-case hex digits, nothing else (OCI image-spec, descriptor.md)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from installer.errors import SealiftError

DIGEST_PATTERN: Final = r"^sha256:[0-9a-f]{64}$"
_DIGEST: Final = re.compile(DIGEST_PATTERN)


@dataclass(frozen=True, order=True, slots=True)
class Digest:
    """A SHA-256 digest. ``str()`` gives the OCI spelling ``sha256:<hex>``; ``hex`` the 64 digits alone."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read the one valid spelling. Raises ``digest-malformed`` (3) for any other."""
        if not _DIGEST.fullmatch(text):
            raise SealiftError(
                "digest-malformed", f"not a sha256 digest: {text[:80]!r}", hint="expected sha256:<64 hex digits>"
            )
        return cls(text.removeprefix("sha256:"))

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The digest of ``data``."""
        return cls(hashlib.sha256(data).hexdigest())

    @property
    def short(self) -> str:
        """The first eight hex digits, for folder names and tables; never for decisions."""
        return self.hex[:8]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
