"""Files of a registry in the state dir: written in one step, on disk when the call returns, readable by few."""

from __future__ import annotations

import os
from pathlib import Path

from installer.durable import write_durably
from installer.errors import SealiftError


def make_folder(path: Path, mode: int, owner: int | None = None) -> None:
    """Make a folder with exactly this mode, and for ``owner`` where named. Raises ``state-dir-unusable`` (7)."""
    try:
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        if owner is not None:
            os.chown(path, owner, owner)
        path.chmod(mode)
    except OSError as error:
        raise unusable(path, error) from error


def write_file(path: Path, content: bytes, mode: int, group: int | None = None) -> None:
    """Put ``content`` at ``path`` in one step, on disk when this returns. Raises ``state-dir-unusable`` (7)."""
    try:
        write_durably(path, content, mode, gid=-1 if group is None else group)
    except OSError as error:
        raise unusable(path, error) from error


def unusable(path: Path, error: OSError) -> SealiftError:
    """The refusal for a file or folder of the state dir that cannot be written."""
    return SealiftError(
        "state-dir-unusable",
        f"cannot write {path}: {error.strerror}",
        hint="run this as root, or name a folder of your own with --state-dir",
    )
