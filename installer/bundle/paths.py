"""What a path in a bundle may look like. Paths name members; they never decide where something is written."""

from __future__ import annotations

import re
from typing import Final

MAX_PATH: Final = 100  # what one GNU tar header holds without extensions
PATH_PATTERN: Final = r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$"
_PATH: Final = re.compile(PATH_PATTERN.removeprefix("^").removesuffix("$"), re.ASCII)


def folders(path: str) -> list[str]:
    """The folders that ``path`` lies in, such as ``docs`` and ``docs/de`` for ``docs/de/x.md``."""
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(1, len(parts))]


def path_fault(path: str) -> str | None:
    """The error id of what is wrong with ``path``, or None: relative, plain, no empty, ``.`` or ``..`` parts."""
    if path.startswith(("/", "\\")) or path[1:3] in (":/", ":\\"):
        return "path-absolute"
    if ".." in re.split(r"[/\\]", path):
        return "path-climbing"
    if not _PATH.fullmatch(path) or "." in path.split("/") or len(path) > MAX_PATH:
        return "path-spelling"
    return None
