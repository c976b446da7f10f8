"""``packing.json``: how one file carries the content. Unsigned, so nothing in it is believed."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ValidationError

from installer.bundle.release import Closed, first_problem
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

PACKING_TYPE: Final = "application/vnd.sealift.packing.v1+json"


class Packing(Closed):
    """``kind: full``: every member of the signed list follows, whole and in order."""

    type: Literal["application/vnd.sealift.packing.v1+json"] = "application/vnd.sealift.packing.v1+json"
    kind: Literal["full"] = "full"

    def to_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, raw: bytes) -> Packing:
        """Read the one valid spelling. Raises ``json-invalid`` or ``packing-invalid`` (3)."""
        parse_canonical(raw, "packing.json")
        try:
            packing = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError(
                "packing-invalid",
                f"packing.json: {first_problem(error)}",
                hint="made by a newer sealift, or not by sealift at all",
            ) from error
        if packing.to_bytes() != raw:
            raise SealiftError("packing-invalid", "packing.json leaves out fields that must be spelled out")
        return packing
