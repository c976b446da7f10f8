"""How each registry is reached: address, TLS, mirrors. What the manifest and the engine's own folders say about it.

Rules:
- TLS, unless ``plain_http`` asks for less. On loopback addresses, a registry that speaks no TLS is asked by plain HTTP,
  as engines do; a certificate that does not hold is refused there too.
- Trusted are the authorities of this machine (``SSL_CERT_FILE``, ``SSL_CERT_DIR``), those of the engine's ``certs.d``,
  and ``ca``.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.collect.reference import HUB
from bundler.manifest.recipe import RegistrySettings
from installer.errors import SealiftError
from installer.registry.address import is_loopback
from installer.registry.wire import system_authorities

CERTS_D: Final = (Path("/etc/docker/certs.d"), Path("/etc/containers/certs.d"))
_API_OF_HUB: Final = "registry-1.docker.io"


@dataclass(frozen=True)
class Endpoint:
    """One place to ask. ``host`` is what people call it; ``prefix`` stands before every repository there."""

    host: str
    prefix: str = ""
    plain_http: bool = False
    ca: Path | None = None

    @property
    def address(self) -> str:
        """Host and port to connect to."""
        return _API_OF_HUB if self.host == HUB else self.host

    @property
    def is_loopback(self) -> bool:
        """Whether it can only be this machine."""
        return is_loopback(self.host.rsplit(":", 1)[0] if not self.host.endswith("]") else self.host)

    def repository(self, name: str) -> str:
        """A repository as it is called there."""
        return f"{self.prefix}/{name}" if self.prefix else name

    def tls(self) -> ssl.SSLContext:
        """Whom to trust there, and the certificate to show. Raises ``certificate-missing`` (7)."""
        context = ssl.create_default_context()
        usual = system_authorities()
        if usual and not context.cert_store_stats()["x509_ca"]:  # a Python that brings its own OpenSSL looks elsewhere
            context.load_verify_locations(usual)
        for path in self._authorities():
            try:
                context.load_verify_locations(path)
            except OSError as error:
                reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
                raise SealiftError(
                    "certificate-missing",
                    f"cannot use the authority {path} of {self.host}: {reason}",
                    hint="name a file of PEM certificates",
                ) from error
        for folder in self._folders():
            for certificate in sorted(folder.glob("*.cert")):
                try:
                    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
                except OSError as error:
                    raise SealiftError(
                        "certificate-missing",
                        f"cannot show the certificate {certificate} to {self.host}: it or its key cannot be read",
                        hint=f"put both there, as {certificate.stem}.cert and {certificate.stem}.key",
                    ) from error
        return context

    def _authorities(self) -> Iterator[Path]:
        if self.ca is not None:
            yield self.ca
        for folder in self._folders():
            yield from sorted(folder.glob("*.crt"))

    def _folders(self) -> Iterator[Path]:
        yield from (folder / self.host for folder in CERTS_D if (folder / self.host).is_dir())


def endpoints(host: str, settings: Mapping[str, RegistrySettings]) -> list[Endpoint]:
    """Where ``host`` is asked, in order: its mirrors, then itself."""

    def endpoint(place: str) -> Endpoint:
        name, _, prefix = place.partition("/")
        own = settings.get(name, RegistrySettings())
        return Endpoint(name, prefix, own.plain_http, Path(own.ca) if own.ca else None)

    mirrors = settings[host].mirrors if host in settings else ()
    return [*(endpoint(mirror) for mirror in mirrors), endpoint(host)]
