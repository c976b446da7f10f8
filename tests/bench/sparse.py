"""A bundle of any size that takes a thirtieth of it on the disk: blobs of zeros but for eight bytes, in raw frames.

It is a real bundle, signed, indexed and hashed from end to end; the file has holes where frames hold zeros.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

from bundler.build import Request, assembled, draft
from bundler.signing.sign import load_keys
from installer.bundle.archive import PACKING_MEMBER, RELEASE_MEMBER, ArchiveWriter
from installer.bundle.frames import Buffer
from installer.bundle.packing import Packing
from installer.bundle.release import File
from installer.talk import Talk
from tests.bench.inputs import HOLE, LAYER, MIB, Layout, Product, make_product

_ZEROS: Final = bytes(128 * 1024)


class Holes:
    """A file for writing in which zeros become holes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Buffer) -> int:
        if len(data) == len(_ZEROS) and bytes(data) == _ZEROS:  # bytes: to compare a view takes ten times as long
            self._file.seek(len(data), os.SEEK_CUR)
        else:
            self._file.write(data)
        return len(data)


def zeros(number: int, size: int) -> Iterator[bytes]:
    """A blob that differs from others in its first eight bytes."""
    yield number.to_bytes(8, "big") + bytes(MIB - 8)
    for start in range(MIB, size, MIB):
        yield HOLE if size - start >= MIB else bytes(size - start)


def make_layout(folder: Path, size: int, blob: int = 2**30) -> Product:
    """A product with one image of ``size`` bytes in blobs that pass for compressed, its files with holes."""
    layout = Layout(folder / "manifests/bench/layout")
    count = max(1, size // blob)
    layers = [layout.blob(zeros(number, size // count), LAYER + "+gzip") for number in range(count)]
    layout.image("first", [(layer, layer["digest"]) for layer in layers])
    return make_product(folder, layout)


def write_sparse(folder: Path, key: Path, program: Path, target: Path) -> None:
    """Write the bundle of the product in ``folder``, signed with ``key`` (its passphrase: ``word``)."""
    request = Request("v1.0.0", folder, installer=program)
    keys = load_keys([key], lambda _: "word")
    scratch = target.parent / "scratch"
    scratch.mkdir()
    with assembled(request, draft(request), scratch, Talk(quiet=True)) as assembly, target.open("wb") as file:
        archive = ArchiveWriter(Holes(file))
        raw, packing = assembly.release.to_bytes(), Packing().to_bytes()
        archive.member(RELEASE_MEMBER, len(raw), [raw])
        for signer in keys:
            signature = signer.signature_file(raw)
            archive.member(f"signatures/{signer.name}.sigstore.json", len(signature), [signature])
        archive.member(PACKING_MEMBER, len(packing), [packing])
        for name, member in assembly.release.members():
            part = assembly.parts[name]
            mode = int(member.mode, 8) if isinstance(member, File) else 0o644
            archive.member(name, member.size, part.content.chunks(), mode=mode, compressed=part.packed)
        archive.close()


if __name__ == "__main__":
    place, wanted, signing, installer, result = sys.argv[1:]
    make_layout(Path(place), int(float(wanted)))
    write_sparse(Path(place), Path(signing), Path(installer), Path(result))
