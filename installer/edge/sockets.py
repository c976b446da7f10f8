"""One question, one answer, on a UNIX socket of HAProxy."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Final

from installer.errors import SealiftError

_LIMIT: Final = 64 * 1024 * 1024  # bytes of one answer; a site's statistics are some kilobytes


def ask(path: Path, question: str, timeout: float = 5.0) -> str:
    """The answer to one line. Raises ``edge-unreachable`` (9)."""
    try:
        with _connect(path, timeout) as connection:
            connection.sendall(question.encode("ascii") + b"\n")
            # The master's socket answers and then waits, unless it sees that nothing more will come.
            connection.shutdown(socket.SHUT_WR)
            return _read_all(connection).decode("utf-8", errors="replace")
    except OSError as error:
        raise SealiftError(
            "edge-unreachable",
            f"the front door does not answer on {path}: {error.strerror or error}",
            hint="is its container running? look with: docker ps -a --filter label=dev.sealift.role=edge",
        ) from error


def _connect(path: Path, timeout: float) -> socket.socket:
    """A connection to ``path``, by way of its folder: a socket's name may have 107 bytes, and state dirs are longer."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(f"/proc/self/fd/{folder}/{path.name}")
        except BaseException:
            connection.close()
            raise
        return connection
    finally:
        os.close(folder)


def _read_all(connection: socket.socket) -> bytes:
    parts: list[bytes] = []
    size = 0
    while part := connection.recv(65536):
        parts.append(part)
        size += len(part)
        if size > _LIMIT:
            raise OSError("the answer does not end")
    return b"".join(parts)
