"""``python -m tests.fuzz.seeds``: writes the kept corpus again: the good parts, and what the vectors do to each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from installer.bundle.frames import FrameReader
from installer.bundle.strictjson import canonical
from tests.fuzz.targets import FORGE, GOOD, HEAD, MEDIA_KEY, SEALED
from tests.unit.bundle.agefiles import broken_headers
from tests.unit.receipts.forge import note, sealed, value
from tests.vectors import in_deltas, in_documents, in_headers, in_trust
from tests.vectors.forge import RELEASE, root_of
from tests.vectors.vector import Vector

CORPUS = Path(__file__).with_name("corpus")
LARGEST = 4096
EACH = 14


def member(vector: Vector, number: int) -> Iterable[bytes]:
    """The content of the frame ``number`` of a vector; none where the file is broken before."""
    import io

    from installer.errors import SealiftError

    reader, content = FrameReader(io.BytesIO(vector.bundle)), b""
    try:
        for _ in range(number + 1):
            content = reader.read()
    except SealiftError:
        return
    yield content.rstrip(b"\0") if number else content


def seeds() -> dict[str, list[bytes]]:
    """Inputs by target."""
    documents = [raw for vector in in_documents.CONTENT for raw in member(vector, 1)]
    spelled = [raw for vector in in_documents.SPELLING for raw in member(vector, 1)]
    packings = [raw for vector in in_documents.PACKING for raw in member(vector, 5)]
    return {
        "release": [FORGE.statement, *documents],
        "signed": [FORGE.statement],
        "json": [b'{"a":[1,true,null,"\\u0001"]}\n', *spelled],
        "packing": [
            FORGE.packing,
            *in_deltas.PACKINGS,
            *packings,
        ],
        "signature": [raw for vector in in_trust.SIGNATURES for raw in member(vector, 3)],
        "path": [note().to_bytes(), note().to_bytes().replace(b"01-", b"../"), canonical({"type": "x"})],
        "receipt": [sealed(), canonical(value()), sealed().replace(b"hall", b"hell", 1)],
        "root": [root_of(RELEASE), *(vector.trusted for vector in in_trust.ROOTS)],
        "header": [raw for vector in in_headers.VECTORS for raw in member(vector, 6)],
        "frame": [frame.data for frame in FORGE.frames()],
        "tail": [GOOD[HEAD:]],
        "patch": [b"\0\0\1x", b"\x58\x07\x20" + bytes(32)],
        "age": [SEALED[:400], *broken_headers(MEDIA_KEY).values()],
        "sealed": [b"\0\0\1x", b"\x58\x01\x20" + bytes(32), b"\x90\x01\0"],
        "members": [bytes(range(14)), bytes([0, 1, 2, 40]) + b"docs/x\0"],
    }


def main() -> None:
    """Write them, small ones only."""
    for target, inputs in seeds().items():
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        small = [data for data in dict.fromkeys(inputs) if len(data) <= LARGEST or target in ("tail", "root")]
        for data in small[:EACH]:
            (folder / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)


if __name__ == "__main__":
    main()
