"""What stands between us and a registry on a bad day: a proxy that fails on purpose, a service that gives tokens."""

from __future__ import annotations

import base64
import http.client
import http.server
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

_PASSED_ON = ("authorization", "content-type", "accept", "host", "range")


@dataclass
class Fault:
    """What happens to the first ``times`` requests of ``method`` whose path holds ``part``."""

    method: str
    part: str
    kind: str
    """A status such as 503, or ``reset``: no answer; ``half``: half of the body is read, then no answer; ``slow``: a
    second later; ``corrupt``: another body is passed on; ``cut``: half of the answer's body comes back; ``altered``:
    another body of that size comes back."""
    times: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


class Proxy(http.server.ThreadingHTTPServer):
    """Passes requests on to ``target`` (``host:port``) unless a fault says otherwise."""

    daemon_threads = True

    def __init__(self, target: str, faults: list[Fault]) -> None:
        super().__init__(("127.0.0.1", 0), _Passing)
        self.target, self.faults = target, faults
        self.seen: list[tuple[str, str, dict[str, str]]] = []
        self.lock = threading.Lock()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.method == method and fault.part in path:
                    fault.times -= 1
                    return fault
        return None

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Broken connections are what this is for."""


class _Passing(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def _handle(self) -> None:
        self.server.seen.append((self.command, self.path, dict(self.headers.items())))
        size = int(self.headers.get("Content-Length", 0))
        fault = self.server.fault(self.command, self.path)
        if fault and fault.kind in ("reset", "half"):
            self.rfile.read(size // 2 if fault.kind == "half" else 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            self.close_connection = True
            self.connection.close()
            return
        body = self.rfile.read(size)
        if fault and fault.kind == "slow":
            time.sleep(1)
        elif fault and fault.kind == "corrupt":
            body = body[:-1] + bytes([body[-1] ^ 1])
        elif fault and fault.kind not in ("cut", "altered"):
            self._answer(int(fault.kind), {"Content-Length": str(len(fault.body)), **fault.headers}, fault.body)
            return
        upstream = http.client.HTTPConnection(self.server.target, timeout=20)
        headers = {name: value for name, value in self.headers.items() if name.lower() in _PASSED_ON}
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        if fault and fault.kind in ("cut", "altered"):
            content = content[: len(content) // 2] + (bytes([content[-1] ^ 1]) if fault.kind == "altered" else b"")
            content += b"" if fault.kind == "cut" else bytes(int(answer.headers["Content-Length"]) - len(content))
            self.close_connection = True
        self._answer(answer.status, dict(answer.getheaders()), content)
        upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = _handle

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@contextmanager
def serving(server: http.server.HTTPServer) -> Iterator[None]:
    """The server answers while this lasts."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class TokenService(http.server.ThreadingHTTPServer):
    """Gives bearer tokens to one user, as Docker's token specification has it."""

    daemon_threads = True

    def __init__(self, key: ec.EllipticCurvePrivateKey, certificate: x509.Certificate, basic: str) -> None:
        super().__init__(("127.0.0.1", 0), _Giving)
        self.key, self.certificate, self.basic = key, certificate, basic
        self.identity = "an identity token"
        self.given: list[str] = []
        self.life = 300
        self.said_life = 300
        self.actions: Callable[[str], list[str]] = lambda asked: asked.split(",")

    @property
    def realm(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/token"

    def token(self, service: str, scopes: list[str]) -> str:
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            access.append({"type": kind, "name": name, "actions": self.actions(actions)})
        claims = {"iss": "test", "sub": "courier", "aud": service, "nbf": now - 90, "iat": now, "exp": now + self.life}
        chain = base64.b64encode(self.certificate.public_bytes(serialization.Encoding.DER)).decode()
        return jwt.encode({**claims, "jti": str(now), "access": access}, self.key, "ES256", {"x5c": [chain]})


class _Giving(http.server.BaseHTTPRequestHandler):
    server: TokenService

    def do_GET(self) -> None:
        if self.server.basic and self.headers.get("Authorization") != f"Basic {self.server.basic}":
            self.send_error(401)
            return
        self._give(parse_qs(urlsplit(self.path).query))

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        if form.get("refresh_token") != [self.server.identity] or form.get("grant_type") != ["refresh_token"]:
            self.send_error(401)
            return
        self._give(form)

    def _give(self, query: dict[str, list[str]]) -> None:
        scopes = query.get("scope", [])
        self.server.given.append(" ".join(scopes))
        token = self.server.token(query["service"][0], scopes)
        body = json.dumps({"token": token, "access_token": token, "expires_in": self.server.said_life}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""
