"""``packing.json``: how one file carries the content. Unsigned, so nothing in it is believed."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import ValidationError

from installer.bundle.problems import first_problem, only_problem
from installer.bundle.release import Closed
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

PACKING_TYPE: Final = "application/vnd.sealift.packing.v1+json"
MAX_PACKING_BYTES: Final = 64 * 1024  # unsigned, so it is held to what version 1 can need


class Packing(Closed):
    """``kind: full``: every member of the signed list follows, whole and in order."""

    type: Literal["application/vnd.sealift.packing.v1+json"] = "application/vnd.sealift.packing.v1+json"
    kind: Literal["full"] = "full"

    def to_bytes(self) -> bytes:
        return canonical(self.model_dump(mode="json"))

    @classmethod
    def parse(cls, raw: bytes) -> Packing:
        """Read the one valid spelling.

        Raises the ``json-…`` errors, ``packing-type``, ``packing-unknown-field`` or ``packing-invalid`` (3).
        """
        value = parse_canonical(raw, "packing.json")
        if not isinstance(value, dict) or value.get("type") != PACKING_TYPE:
            raise SealiftError(
                "packing-type",
                "packing.json is of a type that is not known here",
                hint="made by a newer sealift, or not by sealift at all",
            )
        try:
            packing = cls.model_validate_json(raw)
        except ValidationError as error:
            unknown = only_problem(error, "extra_forbidden")
            raise SealiftError(
                "packing-unknown-field" if unknown else "packing-invalid",
                f"packing.json: {first_problem(error)}",
                hint="made by a newer sealift, or not by sealift at all",
            ) from error
        if packing.to_bytes() != raw:
            raise SealiftError("packing-invalid", "packing.json leaves out fields that must be spelled out")
        return packing
