"""Writing so that a power cut leaves the old content or the new: temporary, fsync, rename, fsync of the folder."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

_DRAFTS: Final = (".new", ".draft")
_DRAFT_FOLDER: Final = ".tmp"
_REPLACED: Final = ".old"


def write_durably(path: Path, data: bytes, mode: int | None = 0o600, *, uid: int = -1, gid: int = -1) -> None:
    """Replace ``path`` by ``data`` as one step; ``uid`` and ``gid`` become its owner where they are given.

    ``mode`` None is for a stick, whose file system may know no modes: it is left to the umask.
    Raises ``OSError``; after a failed fsync nothing is replaced.
    """
    # An unguessable new name: where another user owns the folder, no link of his can stand there.
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(draft, flags, 0o666 if mode is None else 0o600)
    try:
        try:
            write_all(descriptor, data)
            if mode is not None:
                os.fchown(descriptor, uid, gid)
                os.fchmod(descriptor, mode)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        draft.rename(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def create_durably(path: Path, data: bytes, mode: int = 0o600) -> bool:
    """Write ``path`` as one step unless it is there already; whether it was written. Raises ``OSError``."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.new")
    write_durably(draft, data, mode)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    sync_folder(path.parent)
    return True


def write_all(descriptor: int, data: bytes) -> None:
    """Write every byte: the kernel may take fewer than it was given, as on a disk that is getting full."""
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def tidy(*folders: Path) -> None:
    """Remove drafts that a killed run left in these folders; only for who is the only writer there.

    A folder that was about to be replaced comes back where nothing took its place.
    """
    for folder in folders:
        for draft in folder.glob(".*"):
            place = folder / draft.stem.rpartition(".")[0][1:]
            if draft.suffix in _DRAFTS:
                draft.unlink(missing_ok=True)
            elif draft.suffix == _REPLACED and not place.exists():
                draft.rename(place)
            elif draft.suffix in (_DRAFT_FOLDER, _REPLACED):
                shutil.rmtree(draft, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Take ``folder`` away as one step; a draft is what a kill leaves of it. Fine where it is not there."""
    draft = folder.with_name(f".{folder.name}.{os.getpid()}{_DRAFT_FOLDER}")
    with suppress(FileNotFoundError):
        folder.rename(draft)
        shutil.rmtree(draft)


def sync_folder(folder: Path) -> None:
    """Make renames in ``folder`` permanent."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o700) -> Path:
    """``folder`` with its parents; each folder that is made here gets ``mode``."""
    if not folder.is_dir():
        make_folder(folder.parent, mode)
        folder.mkdir(mode=mode, exist_ok=True)
        folder.chmod(mode)
        sync_folder(folder.parent)
    return folder


def write_folder(folder: Path, files: dict[str, tuple[bytes, int]]) -> None:
    """Put ``files`` (relative path → bytes, mode) into a new ``folder`` that appears whole or not at all.

    An existing folder is replaced. Paths must have been checked before.
    """
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}{_DRAFT_FOLDER}")
    shutil.rmtree(temporary, ignore_errors=True)
    make_folder(temporary)
    for relative, (data, mode) in sorted(files.items()):
        target = temporary / relative
        target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        write_durably(target, data, mode)
    if folder.exists():
        old = folder.with_name(f".{folder.name}.{os.getpid()}{_REPLACED}")
        folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old)
    else:
        temporary.rename(folder)
    sync_folder(folder.parent)
