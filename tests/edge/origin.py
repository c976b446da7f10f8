"""A small service that says its colour: HTTP with keep-alive and upgrade, and a TCP echo. Run as a program."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable

Handler = Callable[[bytes, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def http(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers every request with its name and what it was asked; an upgrade makes the connection an echo."""
    while True:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"\r\nupgrade:" in head.lower():
            writer.write(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n")
            await echo(name, reader, writer)
            return
        # The body is the name, then the request as it arrived: tests look at what HAProxy added.
        body = name + b"\n" + head
        if head.startswith(b"GET /slow"):
            await asyncio.sleep(0.5)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        await writer.drain()


async def echo(name: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Gives every line back behind its name."""
    while line := await reader.readline():
        writer.write(name + b" " + line)
        await writer.drain()


async def serve(name: bytes, address: str, http_port: int, tcp_port: int) -> None:
    """Serves until it is killed."""

    def forgiving(handler: Handler) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await handler(name, reader, writer)
            except (OSError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        return handle

    await asyncio.start_server(forgiving(echo), address, tcp_port)
    server = await asyncio.start_server(forgiving(http), address, http_port)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1].encode(), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
