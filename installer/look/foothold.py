"""Can somebody else on this host change what we stand on? Asked of paths, before anything at them is believed.

Rules, for a path and everything above it, links on the way too:
- it belongs to root or to who runs this;
- nobody else may write to it; a folder above may be one where everybody writes, if it is sticky, such as ``/tmp``;
- a group may write to it only if it is our own or one of those that come with the system, such as root or staff.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from installer.errors import SealiftError

_FIRST_GROUP: Final = 100
"""Below are the groups that distributions give out by themselves; Debian lets staff write to /usr/local."""


def others_can_change(path: Path) -> str | None:
    """Why ``path`` is not ours alone, or None. What does not exist yet belongs to who may make it."""
    path = path.absolute()
    for one in dict.fromkeys((*_above(path), *_above(Path(os.path.realpath(path))))):
        try:
            info = one.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        if info.st_uid not in (0, os.geteuid()):
            return f"{one} belongs to user {info.st_uid}"
        if not stat.S_ISLNK(info.st_mode) and _is_open(info, one != path and one.is_dir()):
            return f"others may write to {one}"
    return None


def refuse_unsafe(path: Path) -> None:
    """Raise ``path-unsafe`` (7) where somebody else could put other content at ``path``."""
    why = others_can_change(path)
    if why is not None:
        raise SealiftError(
            "path-unsafe",
            f"others on this host could change {path}: {why}",
            hint="keep it where only root writes: chown root and chmod go-w it and the folders above it",
        )


def _above(path: Path) -> Iterator[Path]:
    yield from reversed((path, *path.parents))


def _is_open(info: os.stat_result, may_be_sticky: bool) -> bool:
    if may_be_sticky and info.st_mode & stat.S_ISVTX:
        return False
    group = info.st_mode & stat.S_IWGRP and info.st_gid != os.getegid() and info.st_gid >= _FIRST_GROUP
    return bool(group or info.st_mode & stat.S_IWOTH)
