"""What engines save that are too old, or fail in the middle: refused, in words of ours."""

from __future__ import annotations

import io
import json
import re
import socketserver
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from bundler.collect.engine import Engine
from installer.errors import SealiftError
from installer.talk import Talk

pytestmark = pytest.mark.e2e


def docker_archive() -> bytes:
    """What ``docker save`` gave before engine 25."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in (("manifest.json", b"[]"), ("repositories", b"{}")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


class OldEngine(BaseHTTPRequestHandler):
    """Answers like an engine, for faults that a real one can't be made to show. ``saved`` is what it saves."""

    saved = b""
    promised = 0

    def do_GET(self) -> None:
        if re.search(r"/version$", self.path):
            self._answer(json.dumps({"ApiVersion": "1.41", "Version": "20.10.24"}).encode())
        elif self.path.endswith("/json"):
            self._answer(json.dumps({"Id": "sha256:" + "0" * 64, "Size": len(self.saved)}).encode())
        else:
            self._answer(self.saved, self.promised or len(self.saved))

    def _answer(self, body: bytes, length: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "engine"

    def log_message(self, format: str, *arguments: object) -> None:
        """Quiet."""


@pytest.fixture
def old_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes, int], Engine]]:
    servers: list[socketserver.ThreadingUnixStreamServer] = []

    def start(saved: bytes, promised: int = 0) -> Engine:
        handler = type("Handler", (OldEngine,), {"saved": saved, "promised": promised})
        path = tmp_path / f"{len(servers)}.sock"
        server = socketserver.ThreadingUnixStreamServer(str(path), handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("DOCKER_HOST", f"unix://{path}")
        return Engine(Talk(quiet=True), tmp_path)

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def refused(engine: Engine) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        engine.save("acme/web:1")
    engine.close()
    return caught.value


def test_refuses_an_engine_that_saves_no_oci_layout_and_says_the_way_out(
    old_engine: Callable[[bytes, int], Engine],
) -> None:
    error = refused(old_engine(docker_archive(), 0))
    assert error.id == "source-unsupported"
    assert "skopeo copy" in error.hint


def test_refuses_what_is_no_tar(old_engine: Callable[[bytes, int], Engine]) -> None:
    assert refused(old_engine(b"no tar at all" * 100, 0)).id == "source-unsupported"


def test_connection_cut_in_the_middle_is_the_engines_failure(old_engine: Callable[[bytes, int], Engine]) -> None:
    archive = docker_archive()
    assert refused(old_engine(archive[: len(archive) // 2], len(archive))).id == "engine-failed"


def test_spool_leaves_no_file(old_engine: Callable[[bytes, int], Engine], tmp_path: Path) -> None:
    refused(old_engine(docker_archive(), 0))
    assert [path.suffix for path in tmp_path.iterdir()] == [".sock"]
