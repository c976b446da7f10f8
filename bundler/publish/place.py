"""Where a release lies in a registry: ``oci://REGISTRY/REPOSITORY:TAG``, and how that is reached to read and to write.

Settings as for images: the file ``SEALIFT_REGISTRIES``, the engine's logins, helpers and ``certs.d``; TLS unless plain
HTTP is asked for (a registry on a loopback address that speaks no TLS is asked without).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import urllib3
from requests.utils import get_environ_proxies, select_proxy
from urllib3.util import make_headers, parse_url

from bundler.collect.reference import Reference
from bundler.collect.registry.client import Connection
from bundler.collect.registry.hosts import Endpoint, endpoints
from bundler.collect.registry.login import Credentials
from bundler.collect.registry.store import Registries, RemoteStore
from bundler.manifest.recipe import RegistrySettings
from bundler.manifest.registries import VARIABLE, named_settings
from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.auth import Advice
from installer.registry.client import RegistryClient
from installer.registry.login import Login
from installer.registry.patience import Patience
from installer.registry.wire import Wire
from installer.talk import Talk

SCHEME: Final = "oci://"
_FORM: Final = "write oci://REGISTRY/REPOSITORY:TAG, or oci://REGISTRY/REPOSITORY@sha256:… to pull"
_ADVICE: Final = Advice(
    no_login="asks for a login, and there is none",
    login="try: docker login {host}",
    authority=f"name who signed it with --ca, or as `ca` of {{host}} in the file {VARIABLE}",
)


@dataclass(frozen=True)
class Place:
    """A reference that leaves nothing out, and how its registry is reached."""

    reference: Reference
    settings: Mapping[str, RegistrySettings]

    @classmethod
    def parse(
        cls, text: str, environment: Mapping[str, str], *, plain_http: bool = False, ca: Path | None = None
    ) -> Place:
        """Read ``oci://…``; what the options say goes over the file that the environment names.

        Raises ``bad-option`` (2), and what that file raises.
        """
        reference = _reference(text)
        settings = named_settings(environment)
        own = settings.get(reference.host, RegistrySettings())
        changes = ({"plain_http": True} if plain_http else {}) | ({"ca": str(ca.absolute())} if ca else {})
        return cls(reference, settings | {reference.host: own.model_copy(update=changes)})

    def __str__(self) -> str:
        return f"{SCHEME}{self.reference}"

    @property
    def repository(self) -> str:
        """The repository's name."""
        return self.reference.repository

    def reader(self, talk: Talk, patience: Patience | None = None) -> RemoteStore:
        """The repository to read from, at mirrors first. Asks nothing yet."""
        registries = Registries(self.settings, talk, patience) if patience else Registries(self.settings, talk)
        return registries.repository(self.reference)

    def writer(self, patience: Patience | None = None) -> RegistryClient:
        """A client that writes to the registry itself. Raises ``certificate-missing`` (7), ``registry-login`` (9)."""
        endpoint = endpoints(self.reference.host, self.settings)[-1]
        patience = patience or Patience()
        connection = Connection.to(endpoint, patience)
        connection.session.close()
        address = RegistryAddress(connection.url, endpoint.address)
        pool = _pool(endpoint, connection.url)
        return RegistryClient(
            Wire(address, _login(connection.credentials), patience=patience, pool=pool, advice=_ADVICE)
        )


def _reference(text: str) -> Reference:
    """Nothing is completed: a name without a registry must not lead to a public one, nor one without a tag to any."""
    try:
        found = Reference.parse(text.removeprefix(SCHEME), complete=False)
    except SealiftError as error:
        raise SealiftError("bad-option", f"not a place in a registry: {error.message}", hint=_FORM) from None
    if not text.startswith(SCHEME) or not (found.tag or found.digest):
        raise SealiftError("bad-option", f"not a place in a registry: {text[:200]!r}", hint=_FORM)
    return found


def _login(credentials: Credentials) -> Login | None:
    if credentials.identity_token:
        return Login("", "", credentials.identity_token)
    if not credentials.basic:
        return None
    user, _, password = base64.b64decode(credentials.basic).decode("utf-8", "replace").partition(":")
    return Login(user, password)


def _pool(endpoint: Endpoint, url: str) -> urllib3.PoolManager:
    """Connections to a registry, through the proxy that the environment names for it, if any."""
    tls = endpoint.tls() if url.startswith("https:") else None
    proxy = None if endpoint.is_loopback else select_proxy(url, get_environ_proxies(url))
    if not proxy:
        return urllib3.PoolManager(num_pools=4, maxsize=8, ssl_context=tls)
    login = parse_url(proxy).auth
    headers = make_headers(proxy_basic_auth=login) if login else None
    return urllib3.ProxyManager(proxy, num_pools=4, maxsize=8, proxy_headers=headers, ssl_context=tls)
