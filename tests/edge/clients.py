"""Clients that never try twice: what fails is counted."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self


def ask(address: str, port: int, path: str = "/", timeout: float = 5.0) -> tuple[int, str]:
    """One request on a connection of its own: status and body."""
    with socket.create_connection((address, port), timeout) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: door\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: connection.recv(65536), b"")).decode()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


class Session:
    """A connection that stays, and says which colour echoes on it. ``upgrade``: by way of an HTTP upgrade."""

    def __init__(self, address: str, port: int, *, upgrade: bool = False) -> None:
        self.socket = socket.create_connection((address, port), 5)
        self.file = self.socket.makefile("rwb")
        if upgrade:
            self.file.write(b"GET /ws HTTP/1.1\r\nHost: door\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
            self.file.flush()
            assert b"101" in self.file.readline()
            while self.file.readline().strip():
                pass

    def colour(self) -> str:
        """Sends a line; the colour that gave it back."""
        self.file.write(b"hello\n")
        self.file.flush()
        colour, _, said = self.file.readline().decode().partition(" ")
        assert said == "hello\n", "the session was cut"
        return colour

    def close(self) -> None:
        self.file.close()
        self.socket.close()


class KeptAlive:
    """One HTTP connection that is kept alive, by hand."""

    def __init__(self, address: str, port: int) -> None:
        self.socket = socket.create_connection((address, port), 5)
        self.file = self.socket.makefile("rwb")

    def get(self, path: str = "/") -> tuple[str, bool]:
        """The first line of the body, and whether the connection stays."""
        self.file.write(f"GET {path} HTTP/1.1\r\nHost: door\r\n\r\n".encode())
        self.file.flush()
        assert b" 200 " in self.file.readline(), "the request failed"
        headers = [line.lower() for line in iter(lambda: self.file.readline().strip(), b"")]
        length = next(int(line.split()[1]) for line in headers if line.startswith(b"content-length:"))
        return self.file.read(length).decode().partition("\n")[0], b"connection: close" not in headers

    def close(self) -> None:
        self.file.close()
        self.socket.close()


@dataclass
class Load:
    """Requests from many connections in a thread, until the ``with`` block ends and ``least`` were sent."""

    address: str
    port: int
    keep_alive: bool
    least: int = 0
    connections: int = 16
    path: str = "/"
    answers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    _stop: bool = False

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        deadline = time.monotonic() + 60
        while kind is None and self.sent < self.least and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stop = True
        self._thread.join(30)

    @property
    def sent(self) -> int:
        return self.answers.total() + len(self.failures)

    def await_sent(self, more: int) -> None:
        """Returns when so many more were sent."""
        goal, deadline = self.sent + more, time.monotonic() + 60
        while self.sent < goal and time.monotonic() < deadline:
            time.sleep(0.005)

    async def _all(self) -> None:
        await asyncio.gather(*(self._one() for _ in range(self.connections)))

    async def _one(self) -> None:
        while not self._stop:
            try:
                reader, writer = await asyncio.open_connection(self.address, self.port)
            except OSError as error:
                self.failures.append(f"connect: {error}")
                await asyncio.sleep(0.01)
                continue
            try:
                while await self._request(reader, writer) and self.keep_alive and not self._stop:
                    pass
            except (OSError, asyncio.IncompleteReadError, ValueError) as error:
                self.failures.append(repr(error))
            finally:
                writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Whether the connection stays."""
        writer.write(f"GET {self.path} HTTP/1.1\r\nHost: door\r\n\r\n".encode())
        head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)).lower()
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise ValueError(head.partition(b"\r\n")[0].decode())
        length = int(head.partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        self.answers[body.partition(b"\n")[0].decode()] += 1
        return b"connection: close" not in head
