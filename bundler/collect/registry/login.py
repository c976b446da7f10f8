"""Who we are to a registry: what ``docker login`` left, shown as the registry asks for it.

Tokens are oras-py's work. Added here is what it lacks (0.2.43): identity tokens, HTTP Basic beside tokens, a new token
when one has expired (it sends the old one again), and a realm that must speak TLS. Credentials are looked up by the
engine's SDK, which knows identity tokens, helpers and the names of Docker Hub; oras-py goes on without a login where a
helper fails.

Rules:
- Credentials go to the registry and to the token service that it names, by TLS or to this machine.
- What was refused is never sent again.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import requests
from docker.auth import load_config
from docker.errors import DockerException
from oras.auth.token import TokenAuth
from oras.auth.utils import get_basic_auth

from bundler.collect.registry.hosts import Endpoint
from bundler.collect.registry.session import origin
from installer.errors import SealiftError
from installer.registry.address import is_loopback
from installer.registry.auth import parse_challenge


@dataclass(frozen=True)
class Credentials:
    """User and password, or an identity token; empty where nobody has logged in. None of them shows."""

    basic: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @classmethod
    def of(cls, host: str) -> Credentials:
        """What the engine's ``config.json`` (``DOCKER_CONFIG``) and its helpers hold. Raises ``registry-login`` (9)."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found: Mapping[str, Any] = load_config().resolve_authconfig(host) or {}
        except (DockerException, ValueError, KeyError, TypeError, AttributeError) as error:
            # The text of an error may hold what a helper printed.
            raise SealiftError(
                "registry-login",
                f"cannot read the login for {host}: {type(error).__name__} in docker's config.json or its helper",
                hint=f"try: docker login {host}; a helper is a program docker-credential-… in PATH",
            ) from None
        entry = {key.lower(): value for key, value in found.items() if value}
        if "identitytoken" in entry:
            return cls(identity_token=str(entry["identitytoken"]))
        if "username" in entry and "password" in entry:
            return cls(basic=str(get_basic_auth(entry["username"], entry["password"])))
        return cls()

    @property
    def known(self) -> bool:
        """Whether somebody has logged in."""
        return bool(self.basic or self.identity_token)


class Login(TokenAuth):  # type: ignore[misc]
    """Answers the challenges of one registry. The session follows the rules of :mod:`.session`."""

    def __init__(self, endpoint: Endpoint, url: str, session: requests.Session, credentials: Credentials) -> None:
        super().__init__()
        self.session, self.prefix, self._tls_verify = session, urlsplit(url).scheme, True
        self._endpoint, self._url, self._credentials = endpoint, url, credentials
        self._scheme = "Bearer"
        if credentials.basic:
            self._basic_auth = credentials.basic

    def get_auth_header(self) -> dict[str, str]:
        """What to send with the next request."""
        return {"Authorization": f"{self._scheme} {self.token}"} if self.token else {}

    def authenticate_request(
        self, original: requests.Response, headers: dict[str, str], refresh: bool = False
    ) -> tuple[dict[str, str], bool]:
        """The headers with which to ask again after a 401. Raises ``registry-login``, ``registry-refused`` (9)."""
        sent = headers.pop("Authorization", None)
        original.close()
        if original.status_code == 403 or origin(original.url) != origin(self._url):
            raise self.rejected()
        offers = dict(parse_challenge(one) for one in reversed(original.raw.headers.getlist("WWW-Authenticate")))
        if "bearer" in offers:
            self._check_realm(offers["bearer"].get("realm", ""))
            self.token, self._scheme = None, "Bearer"
            # It reads the first challenge that it finds, so it is shown the one that is meant.
            original.headers["Www-Authenticate"] = _spelled(offers["bearer"])
            self._fetch_token(original, offers["bearer"])
        elif "basic" in offers and self._credentials.basic and sent is None:
            self.token, self._scheme = self._credentials.basic, "Basic"
        else:
            raise self.rejected()
        return headers | self.get_auth_header(), True

    def rejected(self) -> SealiftError:
        """The refusal for a login that is wrong, missing, or not allowed to read this."""
        host = self._endpoint.host
        why = "does not let our login read it" if self._credentials.known else "asks for a login, and there is none"
        return SealiftError("registry-login", f"the registry {host} {why}", hint=f"try: docker login {host}")

    def _fetch_token(self, original: requests.Response, offer: Mapping[str, str]) -> None:
        try:
            if self._credentials.identity_token:
                self.token = self._exchanged(offer)
            else:
                super().authenticate_request(original, {})
        except requests.exceptions.JSONDecodeError:
            self.token = None
        except requests.exceptions.RequestException:
            raise SealiftError(
                "registry-unreachable",
                f"the token service of the registry {self._endpoint.host} cannot be reached",
                hint=f"is {urlsplit(offer['realm']).netloc} running, and its certificate good?",
            ) from None
        except (ValueError, KeyError, AttributeError, TypeError):
            self.token = None
        if not isinstance(self.token, str) or not self.token.isprintable():
            self.token = None
            raise self.rejected()

    def _exchanged(self, offer: Mapping[str, str]) -> str | None:
        """A token for an identity token (Docker Registry v2 authentication, OAuth2)."""
        form = {"grant_type": "refresh_token", "client_id": "sealift", "service": offer.get("service", "")}
        form |= {"refresh_token": self._credentials.identity_token, "scope": offer.get("scope", "")}
        answer = self.session.request("POST", offer["realm"], data=form)
        return str(answer.json()["access_token"]) if answer.status_code == 200 else None

    def _check_realm(self, realm: str) -> None:
        parts = urlsplit(realm)
        ours = self._endpoint.plain_http and parts.hostname == urlsplit(self._url).hostname
        if parts.scheme == "https" or (parts.scheme == "http" and (is_loopback(parts.hostname or "") or ours)):
            return
        raise SealiftError(
            "registry-refused",
            f"the registry {self._endpoint.host} sends us to a token service that does not speak TLS",
            hint=f"ask who runs {self._endpoint.host}",
        )


def _spelled(offer: Mapping[str, str]) -> str:
    return "Bearer " + ",".join(f'{key}="{value}"' for key, value in offer.items())
