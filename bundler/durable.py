"""Files that are written once and never over another, and what an interrupted build leaves of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from installer.durable import sync_folder
from installer.errors import ExitCode, SealiftError

PARTIAL: Final = ".partial"
"""Ends the names of files and folders that are not complete."""


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


def goes_on(error: BaseException) -> bool:
    """Whether what is there of a bundle helps the next build: after a kill, or a source that did not answer."""
    return isinstance(error, KeyboardInterrupt) or (
        isinstance(error, SealiftError) and error.exit_code is ExitCode.SERVICE
    )
