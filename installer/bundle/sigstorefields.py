"""The fields of a signature file, read strictly: closed objects, base64 and numbers in their one spelling."""

from __future__ import annotations

import base64
import re
from collections.abc import Set
from dataclasses import dataclass
from typing import Any, Final

from installer.errors import SealiftError

_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True)
class Fields:
    """Reads values of the signature file ``name``; each method raises one of the ``signature-…`` errors (3)."""

    name: str

    def object(self, value: Any, required: set[str], optional: Set[str] = frozenset()) -> dict[str, Any]:
        """An object of just these fields."""
        if not isinstance(value, dict) or not required <= set(value) <= required | optional:
            raise self.refusal("signature-field", f"expected just the fields {', '.join(sorted(required))}")
        return value

    def bytes(self, text: Any, length: int | None = None) -> bytes:
        """Bytes as base64, none of them optional, ``length`` of them where it is given."""
        try:
            data = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
        except ValueError:
            data = b""
        if not data or to_base64(data) != text or (length is not None and len(data) != length):
            raise self.refusal("signature-base64", "base64 of another length or spelling")
        return data

    def number(self, text: Any, error_id: str) -> int:
        """A number from 0 to 10^16 - 1 as protobuf's JSON spells one of 64 bits: in a string."""
        if not isinstance(text, str) or not _NUMBER.fullmatch(text):
            raise self.refusal(error_id, "a number that is not spelled as one in a string")
        return int(text)

    def list(self, value: Any, least: int, most: int, error_id: str, what: str) -> list[Any]:
        """A list of ``least`` to ``most`` items."""
        if not isinstance(value, list) or not least <= len(value) <= most:
            raise self.refusal(error_id, f"{what}, not {least} to {most} of them")
        return value

    def refusal(self, error_id: str, why: str) -> SealiftError:
        return SealiftError(
            error_id,
            f"{self.name} is not a Sigstore v0.3 bundle as it must be: {why}",
            hint="sign with: bundle sign, or cosign sign-blob --bundle",
        )


def to_base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
