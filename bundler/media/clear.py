"""What is made of media in the clear alone says so of encrypted ones, and how to get there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from installer.bundle.parts import bundle_of
from installer.errors import SealiftError

_CLEAR: Final = ".bundle.tar.zst"
_ENCRYPTED: Final = f"{_CLEAR}.age"
_PACK: Final = "bundle pack FILE --identity KEYS makes the same release in the clear: name that"


@contextmanager
def in_the_clear(bundle: Path, why: str) -> Iterator[None]:
    """Opens ``bundle`` in the block; raises ``media-encrypted`` (7) with ``why`` it must not be encrypted."""
    try:
        yield
    except SealiftError as error:
        if error.id != "media-encrypted":
            raise
        raise SealiftError(error.id, f"{bundle.name} is encrypted, and {why}", hint=_PACK) from error


def refuse_encrypted_copy(path: Path) -> None:
    """Encrypted copies cannot be healed byte by byte: without the key nobody can tell right from wrong, and with it a
    chunk holds or does not. Raises ``media-encrypted`` (7) for what is called so."""
    names = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else [path.name]
    found = [name for name in names if bundle_of(name).endswith(_ENCRYPTED)]
    if found and not any(bundle_of(name).endswith(_CLEAR) for name in names):
        raise SealiftError(
            "media-encrypted",
            f"{found[0]} is encrypted, and repair reads what is in the clear",
            hint="take each part from the copy where it is whole: bundle parts FOLDER tells; else pack it once more",
        )
