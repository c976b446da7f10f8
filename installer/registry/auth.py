"""Who we are to a registry: HTTP Basic, or a bearer token fetched from the service that the registry names.

Rules:
- The password goes to the registry itself and to the token service it names, by TLS or over loopback only.
- A token that was refused is fetched anew once, never sent again.

oras-py would do this without timeouts, answer an expired token with the same token and send a password to any realm.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode, urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from installer.errors import SealiftError
from installer.registry.address import is_loopback
from installer.registry.login import Login

_TOKEN: Final = re.compile(r"[\x21-\x7e]{1,16384}")
_SHARE_OF_LIFE: Final = 0.8  # a token is renewed before it could run out between two requests
_DEFAULT_LIFE: Final = 60.0  # seconds, says the token specification

Fetch = Callable[[str, Mapping[str, str], Mapping[str, str] | None], tuple[int, bytes]]
"""GET of a URL with headers, or POST of a form where there is one: status and body. Raises ``registry-unreachable``."""


@dataclass(frozen=True)
class Advice:
    """What messages tell whoever asks a registry: ``host`` and ``place`` stand for it."""

    no_login: str = "asks for a login, and the site file names none"
    login: str = "check registry.credentials in the site file, then try: docker login {host}"
    authority: str = "name the authority that signed the certificate of {place} as registry.ca in the site file"


def parse_challenge(header: str) -> tuple[str, dict[str, str]]:
    """Scheme (lower case) and parameters of one ``WWW-Authenticate``; what can't be read has no parameters."""
    scheme, _, rest = header.strip().partition(" ")
    try:
        return scheme.lower(), {key.lower(): value for key, value in parse_keqv_list(parse_http_list(rest)).items()}
    except ValueError:
        return scheme.lower(), {}


class Authorizer:
    """Remembers what a registry wants to see. ``origin`` is its URL for messages. Safe to share between threads."""

    def __init__(
        self,
        origin: str,
        login: Login | None,
        fetch: Fetch,
        clock: Callable[[], float] = time.monotonic,
        advice: Advice | None = None,
    ) -> None:
        self._origin, self._login, self._fetch, self._clock = origin, login, fetch, clock
        self._advice = advice or Advice()
        self._basic = False
        self._tokens: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def headers(self, scope: str) -> dict[str, str]:
        """What to send for ``scope`` as far as it is known; empty before the first challenge."""
        token, stale_at = self._tokens.get(scope, ("", 0.0))
        if token and self._clock() < stale_at:
            return {"Authorization": f"Bearer {token}"}
        return {"Authorization": f"Basic {self._login.basic}"} if self._basic and self._login else {}

    def learn(self, challenges: Sequence[str], scope: str, refused: Mapping[str, str]) -> None:
        """Take in a 401 that answered ``refused``. Raises ``registry-login`` (9) when there is nothing new to try."""
        offers = dict(parse_challenge(header) for header in reversed(challenges))
        with self._lock:
            if self.headers(scope) not in ({}, dict(refused)):
                return  # another thread has learned it meanwhile
            if "bearer" in offers:
                self._tokens.pop(scope, None)
                self._tokens[scope] = self._request_token(offers["bearer"], scope)
            elif "basic" in offers and self._login and self._login.password and not refused:
                self._basic = True
            else:
                raise self.rejected()

    def rejected(self) -> SealiftError:
        """The refusal for credentials that are wrong or missing."""
        if self._login is None:
            message = f"the registry at {self._origin} {self._advice.no_login}"
        else:
            whose = f"of user {self._login.user}" if self._login.user else "that we have"
            message = f"the registry at {self._origin} does not accept the login {whose}"
        hint = self._advice.login.format(host=urlsplit(self._origin).netloc)
        return SealiftError("registry-login", message, hint=hint)

    def _request_token(self, offer: Mapping[str, str], scope: str) -> tuple[str, float]:
        """A token and the moment it should no longer be used."""
        realm, ours = urlsplit(offer.get("realm", "")), urlsplit(self._origin)
        # A registry that is asked by plain HTTP elsewhere than on loopback is one that somebody wants to be asked so.
        near = is_loopback(realm.hostname or "") or (ours.scheme == "http" and realm.hostname == ours.hostname)
        if realm.scheme != "https" and not (realm.scheme == "http" and near):
            message = f"the registry at {self._origin} sends us to a token service that does not speak TLS"
            raise SealiftError("registry-refused", message, hint=f"give the token service of {self._origin} https")
        asked = [("service", offer["service"])] if "service" in offer else []
        asked += [("scope", part) for part in (offer.get("scope") or scope).split() if part]
        place = f"{realm.scheme}://{realm.netloc}{realm.path}"
        status, body = self._ask_for_token(place, realm.query, asked)
        if status in (401, 403):
            raise self.rejected()
        token, life = _read_token(body) if status == 200 else ("", 0.0)
        if not token:
            message = f"the token service at {place} of the registry at {self._origin} gave no token (status {status})"
            raise SealiftError("registry-refused", message, hint=f"ask who runs {self._origin}")
        return token, self._clock() + life * _SHARE_OF_LIFE

    def _ask_for_token(self, place: str, query: str, asked: Sequence[tuple[str, str]]) -> tuple[int, bytes]:
        """As Docker's token specification has it: by GET with a password, by POST (OAuth2) with an identity token."""
        if self._login and self._login.identity_token:
            scope = " ".join(value for key, value in asked if key == "scope")
            form = {key: value for key, value in asked if key == "service"}
            form |= {"grant_type": "refresh_token", "client_id": "sealift", "scope": scope}
            form |= {"refresh_token": self._login.identity_token}
            return self._fetch(f"{place}?{query}" if query else place, {}, form)
        words = "&".join(part for part in (query, urlencode(asked)) if part)
        headers = {"Authorization": f"Basic {self._login.basic}"} if self._login else {}
        return self._fetch(f"{place}?{words}", headers, None)


def _read_token(body: bytes) -> tuple[str, float]:
    """Token and life in seconds, or an empty token."""
    try:
        value: Any = json.loads(body)
    except (ValueError, RecursionError):
        return "", 0.0
    if not isinstance(value, dict):
        return "", 0.0
    token = value.get("token") or value.get("access_token")
    life = value.get("expires_in")
    usable = isinstance(token, str) and _TOKEN.fullmatch(token) is not None
    seconds = float(life) if isinstance(life, int) and not isinstance(life, bool) and life > 0 else _DEFAULT_LIFE
    return (str(token) if usable else ""), seconds
