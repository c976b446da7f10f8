"""Files that are written once and never over another."""

from __future__ import annotations

import os
from pathlib import Path

from installer.durable import sync_folder
from installer.errors import SealiftError


def write_new(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Create ``path``, which must not exist. Raises ``output-exists`` (2)."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise SealiftError("output-exists", f"{path} exists", hint="choose another name, or remove it") from error
    with os.fdopen(handle, "wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(path.parent)
