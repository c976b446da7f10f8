"""A private authority, as a site has one for its registry."""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Authority:
    """PEM files of an authority and of a server's certificate that it signed, with that one's key."""

    certificate: Path
    server: Path
    key: Path
    private: ec.EllipticCurvePrivateKey

    @classmethod
    def made(cls, folder: Path, address: str) -> Self:
        """An authority in ``folder``, for a server at the IP ``address``; good for an hour."""
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority of a test")])
        root, leaf = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.UTC)

        def certificate(subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ca: bool) -> x509.Certificate:
            builder = x509.CertificateBuilder(name, subject, key.public_key(), x509.random_serial_number())
            builder = builder.not_valid_before(now - datetime.timedelta(hours=1))
            builder = builder.not_valid_after(now + datetime.timedelta(hours=1))
            builder = builder.add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
            return builder.add_extension(names, critical=False).sign(root, hashes.SHA256())

        files = {"ca.pem": certificate(name, root, ca=True)}
        files["server.pem"] = certificate(x509.Name([]), leaf, ca=False)
        for file, content in files.items():
            (folder / file).write_bytes(content.public_bytes(serialization.Encoding.PEM))
        key = leaf.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "server.key").write_bytes(key)
        return cls(folder / "ca.pem", folder / "server.pem", folder / "server.key", root)
