"""Files of a registry in the state dir: written in one step, on disk when the call returns, readable by few."""

from __future__ import annotations

import os
from pathlib import Path

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
    draft = path.with_name(f".{path.name}.new")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        draft.rename(path)
        sync_folder(path.parent)
    except OSError as error:
        raise unusable(path, error) from error


def sync_folder(path: Path) -> None:
    """Make the names in a folder permanent."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unusable(path: Path, error: OSError) -> SealiftError:
    """The refusal for a file or folder of the state dir that cannot be written."""
    return SealiftError(
        "state-dir-unusable",
        f"cannot write {path}: {error.strerror}",
        hint="run this as root, or name a folder of your own with --state-dir",
    )
