"""A small server that the load tool is tried on. It shares no code with lan-chat and misbehaves when it is told to.

`python front.py HTTP_PORT TCP_PORT FILE`: FILE holds one JSON object that is read before every answer:
`version`; `status` of answers; `cut`: take a request and hang up; `drop`: end the first N sessions that ping; `mute`:
answer no ping; `close`: end a kept connection after each answer, properly announced or (`"rudely"`) not.
On SIGTERM it prints how many requests it has taken, and ends.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import signal
import sys
from asyncio import StreamReader, StreamWriter
from pathlib import Path
from typing import Any

HTTP, TCP, ORDERS = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
counted = {"taken": 0, "dropped": 0}


def orders() -> dict[str, Any]:
    """How to behave now."""
    found: dict[str, Any] = json.loads(ORDERS.read_text())
    return found


def may_stay() -> bool:
    """Whether the session that just pinged is one of those to keep."""
    if counted["dropped"] < orders().get("drop", 0):
        counted["dropped"] += 1
        return False
    return True


async def web(reader: StreamReader, writer: StreamWriter) -> None:
    """One HTTP connection."""
    try:
        while await answer(reader, writer):
            pass
    except (ConnectionError, asyncio.IncompleteReadError):
        pass
    writer.close()


async def answer(reader: StreamReader, writer: StreamWriter) -> bool:
    """Take one request; returns whether the connection goes on."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    headers = dict(line.lower().split(": ", 1) for line in head.split("\r\n")[1:] if line)
    if "sec-websocket-key" in headers:
        key = head.split("Sec-WebSocket-Key: ")[1].split("\r\n")[0]
        await chat(reader, writer, key)
        return False
    counted["taken"] += 1
    now = orders()
    if now.get("cut"):
        return False
    close = headers.get("connection") == "close" or now.get("close") == "politely"
    status, body = now.get("status", 200), json.dumps({"version": now["version"]})
    writer.write(
        f"HTTP/1.1 {status} X\r\nX-Lan-Chat-Version: {now['version']}\r\nContent-Length: {len(body)}\r\n"
        f"{'Connection: close' if close else 'X-Kept: yes'}\r\n\r\n{body}".encode()
    )
    await writer.drain()
    return not close and not now.get("close")


async def chat(reader: StreamReader, writer: StreamWriter, key: str) -> None:
    """One WebSocket: a pong for each text frame."""
    proof = base64.b64encode(hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest())  # noqa: S324
    writer.write(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ")
    writer.write(proof + b"\r\n\r\n")
    while True:
        first, length = await reader.readexactly(2)
        await reader.readexactly(4 + (length & 0x7F))
        if first & 0x0F == 8 or not may_stay():
            return
        if not orders().get("mute"):
            pong = json.dumps({"type": "pong", "version": orders()["version"]}).encode()
            writer.write(bytes([0x81, len(pong)]) + pong)


async def lines(reader: StreamReader, writer: StreamWriter) -> None:
    """One connection of the line protocol."""
    writer.write(b"LAN-CHAT\r\n")
    try:
        while line := await reader.readline():
            if line.strip() != b"PING":
                continue
            if not may_stay():
                break
            if not orders().get("mute"):
                writer.write(f"PONG {orders()['version']}\r\n".encode())
    except ConnectionError:
        pass
    writer.close()


async def main() -> None:
    """Serve until SIGTERM."""
    end = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    await asyncio.start_server(web, "127.0.0.1", HTTP)
    await asyncio.start_server(lines, "127.0.0.1", TCP)
    sys.stdout.write("serving\n")
    sys.stdout.flush()
    await end.wait()
    sys.stdout.write(f"{counted['taken']}\n")


asyncio.run(main())
