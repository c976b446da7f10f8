"""TLS at the front door, with certificates of a site's own authority."""

from __future__ import annotations

import json
import socket
import ssl
import stat
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import docker
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from installer.edge import files
from installer.errors import SealiftError
from tests.edge.clients import ask
from tests.edge.conftest import HTTP, PREVIEW_HTTP, Door

pytestmark = pytest.mark.e2e


def certificate(
    name: str, issuer: tuple[x509.Certificate, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate of one day, signed by ``issuer`` or by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer[0].subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    )
    return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key


def written(folder: Path, name: str, pair: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> tuple[Path, Path]:
    """Certificate and key as a site has them."""
    paths = folder / f"{name}.crt", folder / f"{name}.key"
    paths[0].write_bytes(pair[0].public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        pair[1].private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return paths


def ask_securely(address: str, authority: Path) -> tuple[int, str, str]:
    """Status, body and name of the certificate of an answer over TLS."""
    context = ssl.create_default_context(cafile=str(authority))
    with (
        socket.create_connection((address, HTTP), 5) as plain,
        context.wrap_socket(plain, server_hostname="door.test") as connection,
    ):
        serial = str((connection.getpeercert() or {})["serialNumber"])
        connection.sendall(b"GET / HTTP/1.1\r\nHost: door.test\r\nConnection: close\r\n\r\n")
        head, _, body = b"".join(iter(lambda: connection.recv(65536), b"")).decode().partition("\r\n\r\n")
    return int(head.split()[1]), body, serial


def test_tls_where_the_site_says_so_and_its_key_stays_secret(
    door: Door, tmp_path: Path, engine: docker.DockerClient
) -> None:
    ca = certificate("site authority", None)
    authority, _ = written(tmp_path, "ca", ca)
    crt, key = written(tmp_path, "door", certificate("door.test", ca))
    folder = door.runtime.folder

    pem = files.write_pem(folder, "lan-chat", "web", crt, key)
    secure = replace(door.config, frontends=(replace(door.config.frontends[0], tls_pem=pem), door.config.frontends[1]))
    door.runtime.set_colour("lan-chat", "blue")
    door.runtime.apply(secure)

    status, body, serial = ask_securely(door.address, authority)
    assert (status, body.partition("\n")[0]) == (200, "blue")
    assert "x-forwarded-proto: https" in body.lower()
    assert "x-forwarded-proto: https" in ask(door.address, PREVIEW_HTTP)[1].lower(), (
        "the preview says what production says"
    )
    assert stat.S_IMODE((folder / pem).stat().st_mode) == 0o600

    crt, key = written(tmp_path, "renewed", certificate("door.test", ca))
    renewed = files.write_pem(folder, "lan-chat", "web", crt, key)
    assert renewed != pem
    door.runtime.apply(replace(secure, frontends=(replace(secure.frontends[0], tls_pem=renewed), secure.frontends[1])))
    assert ask_securely(door.address, authority)[2] != serial
    door.runtime.apply(door.config)
    door.runtime.apply(replace(door.config, retries=1))
    assert list((folder / "tls").iterdir()) == [], "keys that nothing uses any more pile up"

    secret = key.read_text().splitlines()[1]
    container = engine.containers.get(door.names.edge)
    for text in (secure.to_json(), json.dumps(container.attrs), container.logs().decode()):
        assert secret not in text
        assert "PRIVATE KEY" not in text


def test_refuses_a_certificate_that_cannot_be_read(edge_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SealiftError, match=r"lan-chat/web: .*missing\.crt") as refusal:
        files.write_pem(edge_folder, "lan-chat", "web", tmp_path / "missing.crt", tmp_path / "missing.key")
    assert refusal.value.id == "certificate-missing"


def test_refuses_a_key_of_another_certificate(door: Door, tmp_path: Path) -> None:
    crt, _ = written(tmp_path, "one", certificate("door.test", None))
    _, key = written(tmp_path, "two", certificate("door.test", None))
    pem = files.write_pem(door.runtime.folder, "lan-chat", "web", crt, key)
    with pytest.raises(SealiftError, match="haproxy refuses the configuration"):
        door.runtime.apply(replace(door.config, frontends=(replace(door.config.frontends[0], tls_pem=pem),)))
    assert door.runtime.serves(door.config)
