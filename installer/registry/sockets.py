"""Who listens on a port of this host, by the kernel's own tables."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_LISTENING: Final = "0A"
_PROC: Final = Path("/proc")


def holds_port(pid: int, container_id: str, port: int) -> bool | None:
    """Whether the first process of a container holds a listening TCP socket on ``port``.

    None where that cannot be seen: not root, or the engine's processes are not in our view.
    """
    process = _PROC / str(pid)
    try:
        if container_id not in (process / "cgroup").read_text():
            return None  # another process that has the same number in our view
        held = {str(link.readlink()) for link in (process / "fd").iterdir()}
    except OSError:
        return None
    return any(f"socket:[{inode}]" in held for inode in _listening(port))


def _listening(port: int) -> set[str]:
    """The inodes of the sockets that listen on ``port``."""
    found = set()
    for table in ("tcp", "tcp6"):
        try:
            lines = (_PROC / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue
        for fields in (line.split() for line in lines):
            if fields[3] == _LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                found.add(fields[9])
    return found
