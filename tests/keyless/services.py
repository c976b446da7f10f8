"""The instance over HTTP on loopback: what sigstore-python and cosign talk to when they sign."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_public_key
from rfc3161_client._rust import parse_timestamp_request

from tests.keyless.authority import SHA256, new_key
from tests.keyless.instance import IDENTITY, Instance, name
from tests.keyless.translog import Entry

FULCIO, REKOR, REKOR_V2, TSA = "/api/v2/signingCert", "/api/v1/log/entries", "/api/v2/log/entries", "/api/v1/timestamp"
_PERIOD: Final = {"start": "2020-01-01T00:00:00Z"}


@dataclass
class Services:
    """A running instance. ``broken``: paths that answer 500; ``silent``: none answers before it is set."""

    instance: Instance
    url: str = ""
    timestamps: bool = True
    broken: set[str] = field(default_factory=set)
    silent: threading.Event | None = None
    seen: list[str] = field(default_factory=list)
    issuer_key: ec.EllipticCurvePrivateKey = field(default_factory=new_key)

    @property
    def issuer(self) -> str:
        return f"{self.url}/login"

    def token(self, identity: str = IDENTITY, *, minutes: float = 5, **more: Any) -> str:
        """A token for an identity, as the issuer gives it."""
        now = datetime.now(UTC)
        claims = {"iss": self.issuer, "sub": identity, "aud": "sigstore", "iat": now - timedelta(minutes=10)}
        return jwt.encode(claims | {"exp": now + timedelta(minutes=minutes)} | more, self.issuer_key, "ES256")

    def signing_config(self) -> dict[str, Any]:
        def service(path: str, version: int = 1) -> list[dict[str, Any]]:
            return [{"url": self.url + path, "majorApiVersion": version, "validFor": _PERIOD, "operator": "test"}]

        return {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": service(""),
            "oidcUrls": service("/login"),
            "rekorTlogUrls": service("", self.instance.version),
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": service(TSA) if self.timestamps else [],
            "tsaConfig": {"selector": "ANY"},
        }

    def trust_config(self) -> dict[str, Any]:
        """What a signer is given: ``client-trust-config.json``."""
        return {
            "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
            "trustedRoot": self.instance.trusted_root(),
            "signingConfig": self.signing_config(),
        }

    def now(self) -> datetime:
        return datetime.now(UTC).replace(microsecond=0)

    def certify(self, token: str, request: dict[str, Any]) -> dict[str, Any]:
        """Fulcio: the key is the signer's, the token the issuer's; so this is whose key it is."""
        claims = jwt.decode(token, self.issuer_key.public_key(), ["ES256"], audience="sigstore", issuer=self.issuer)
        if "certificateSigningRequest" in request:
            asked = x509.load_pem_x509_csr(base64.b64decode(request["certificateSigningRequest"]))
            assert asked.is_signature_valid
            public = asked.public_key()
        else:
            asked_key = request["publicKeyRequest"]
            public = load_pem_public_key(asked_key["publicKey"]["content"].encode())  # type: ignore[assignment]
            assert isinstance(public, ec.EllipticCurvePublicKey)
            public.verify(base64.b64decode(asked_key["proofOfPossession"]), claims["sub"].encode(), ec.ECDSA(SHA256))
        assert isinstance(public, ec.EllipticCurvePublicKey)
        at = self.now() - timedelta(seconds=5)
        instance = self.instance
        made = instance.authority.issue(public, (name(claims["sub"]),), claims["iss"], at, instance.certificates)
        chain = [one.public_bytes(Encoding.PEM).decode() for one in (made, *instance.authority.chain)]
        return {"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}}

    def log(self, entry: dict[str, Any]) -> Entry:
        """Rekor, of either version."""
        if self.instance.version == 2:
            asked = entry["hashedRekordRequestV002"]
            der = base64.b64decode(asked["signature"]["verifier"]["x509Certificate"]["rawBytes"])
            certificate, digest = x509.load_der_x509_certificate(der), base64.b64decode(asked["digest"])
            signature = asked["signature"]["content"]
        else:
            spec = entry["spec"]
            certificate = x509.load_pem_x509_certificate(base64.b64decode(spec["signature"]["publicKey"]["content"]))
            digest, signature = bytes.fromhex(spec["data"]["hash"]["value"]), spec["signature"]["content"]
        return self.instance.log.add(digest, base64.b64decode(signature), certificate, self.now())

    def answer(self, path: str, headers: Any, body: bytes) -> tuple[int, str, bytes]:
        """Status, type and body."""
        self.seen.append(path)
        if self.silent is not None:
            self.silent.wait(60)
        if path in self.broken:
            return 500, "application/json", b'{"message": "out of order", "code": 500}'
        if path == FULCIO:
            token = headers["Authorization"].removeprefix("Bearer ")
            return 200, "application/json", json.dumps(self.certify(token, json.loads(body))).encode()
        if path == TSA:
            asked = parse_timestamp_request(body)
            made = self.instance.timestamps.stamp_digest(asked.message_imprint.message, self.now(), asked.nonce)
            return 201, "application/timestamp-reply", made
        if path in (REKOR, REKOR_V2):
            entry = self.log(json.loads(body))
            value = entry.as_bundle() if path == REKOR_V2 else entry.as_response()
            return 201, "application/json", json.dumps(value).encode()
        return 404, "text/plain", b"not here"


@contextmanager
def serving(instance: Instance, **more: Any) -> Iterator[Services]:
    """The instance on a free port of loopback."""
    services = Services(instance, **more)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, kind, answer = services.answer(self.path, self.headers, body)
            except (jwt.InvalidTokenError, AssertionError, KeyError, ValueError) as error:
                status, kind, answer = 400, "application/json", json.dumps({"message": repr(error)}).encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if self.path == REKOR and status == 201:
                self.send_header("ETag", next(iter(json.loads(answer))))  # which of the entries is meant
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    services.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield services
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
