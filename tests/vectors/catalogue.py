"""All vectors, by name."""

from __future__ import annotations

from typing import Final

from tests.vectors import in_deltas, in_documents, in_frames, in_headers, in_members, in_roots, in_trust
from tests.vectors.vector import Vector

VECTORS: Final[tuple[Vector, ...]] = (
    *in_frames.VECTORS,
    *in_headers.VECTORS,
    *in_members.VECTORS,
    *in_documents.VECTORS,
    *in_trust.VECTORS,
    *in_roots.VECTORS,
    *in_deltas.VECTORS,
)
BY_NAME: Final = {vector.name: vector for vector in VECTORS}
HOSTILE: Final = tuple(vector for vector in VECTORS if vector.error is not None)
