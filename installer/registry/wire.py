"""HTTP to one registry: bounded times, bounded answers, bounded retries, and no exception of a library leaks out.

Rules:
- A request whose body can be sent again is tried again when the registry is busy (429, 502, 503, 504), asks for
  patience (``Retry-After``) or drops the connection; a streamed body is sent once.
- Proxies, ``.netrc`` and certificates named by the environment play no part: a site's registry is near.
- Redirects are not followed. Messages hold no query: an upload's query is a capability.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode, urljoin, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import Retry, Timeout

from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.auth import Advice, Authorizer
from installer.registry.login import Login
from installer.registry.patience import BUSY, Patience

MAX_ANSWER: Final = 4 * 1024 * 1024 + 1
_PIECE: Final = 1024 * 1024
_AGENT: Final = "sealift"
_AUTHORITIES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")


@dataclass(frozen=True)
class Answer:
    """A registry's answer; ``body`` holds at most :data:`MAX_ANSWER` bytes."""

    status: int
    headers: Mapping[str, str]
    challenges: tuple[str, ...]
    body: bytes

    @property
    def reason(self) -> str:
        """The first error that the registry names, in printable characters; empty where it names none."""
        try:
            value: Any = json.loads(self.body)
            first = value["errors"][0]
            text = f"{first.get('code', '')}: {first.get('message', '')}"
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            return ""
        return "".join(character if character.isprintable() else " " for character in text).strip(" :")[:200]


class Wire:
    """Speaks HTTP with one registry. Safe to share between threads."""

    def __init__(
        self,
        address: RegistryAddress,
        login: Login | None = None,
        ca: Path | None = None,
        patience: Patience | None = None,
        connections: int = 8,
        *,
        pool: urllib3.PoolManager | None = None,
        advice: Advice | None = None,
    ) -> None:
        """Nothing is sent yet; ``pool`` connects in its own way. Raises ``certificate-missing`` (7) where ``ca`` cannot
        be read."""
        self.address = address
        self._patience = patience or Patience()
        context = _trust(ca) if pool is None and (address.url.startswith("https:") or ca) else None
        self._pool = pool or urllib3.PoolManager(num_pools=4, maxsize=connections, ssl_context=context)
        self._near = self._pool.connection_from_url(address.url)
        self._login, self._advice = login, advice or Advice()
        self._authorizer = Authorizer(address.url, login, self._fetch, advice=self._advice)

    def ask(
        self,
        method: str,
        path: str,
        scope: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> Answer:
        """One request below the registry's URL, again with a login where it asks for one.

        ``scope`` is what a token must allow. Raises ``registry-unreachable``, ``registry-login`` (9).
        """
        url = self.address.url + path
        sent = self._authorizer.headers(scope)
        answer = self._request(method, url, {**(headers or {}), **sent}, body)
        if answer.status == 401:
            self._authorizer.learn(answer.challenges, scope, sent)
            sent = self._authorizer.headers(scope)
            answer = self._request(method, url, {**(headers or {}), **sent}, body)
        if answer.status == 401:
            raise self._authorizer.rejected()
        return answer

    def send(self, url: str, scope: str, chunks: Iterable[bytes], size: int) -> Answer:
        """PUT ``size`` bytes that pass by once to ``url``, which :meth:`upload_url` gave; repeated never.

        Raises ``registry-unreachable`` (9) and whatever ``chunks`` raises.
        """
        near = self._is_ours(url)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(size)}
        headers |= self._authorizer.headers(scope) if near else {}
        timeout = Timeout(connect=self._patience.connect, read=self._patience.storing)
        return self._request("PUT", url, headers, iter(chunks), retries=False, timeout=timeout)

    def receive(self, path: str, scope: str) -> Iterator[bytes]:
        """GET ``path`` in pieces of 1 MiB, after :meth:`ask` with the same scope. Raises as :meth:`ask` does."""
        timeout = Timeout(connect=self._patience.connect, read=self._patience.answer)
        headers = {"User-Agent": _AGENT, **self._authorizer.headers(scope)}
        url = self.address.url + path
        try:
            response = self._pool.request(
                "GET", url, headers=headers, redirect=False, preload_content=False, timeout=timeout
            )
            try:
                if response.status != 200:
                    raise self.refused(_read(response), "give a blob back")
                while chunk := response.read(_PIECE, decode_content=False):
                    yield chunk
            finally:
                response.close()
        except HTTPError as error:
            raise self._unreachable(url, error) from None

    def upload_url(self, path: str, location: str) -> str:
        """The URL that a ``Location`` means, seen from ``path``. Raises ``registry-refused`` (9).

        A registry behind a TLS proxy may call itself ``http``: its own host keeps the scheme we reached it by.
        """
        url = urljoin(self.address.url + path, location)
        if self._is_ours(url):
            return self.address.url + url.split(urlsplit(url).netloc, 1)[1]
        if urlsplit(url).scheme == "https":
            return url
        message = f"the registry at {self.address.url} wants content sent elsewhere without TLS"
        raise SealiftError("registry-refused", message, hint=f"correct the external URL of {self.address.url}")

    def refused(self, answer: Answer, what: str) -> SealiftError:
        """The error for an answer that is not what ``what`` (an infinitive, such as ``take a blob``) needs."""
        reason = f"status {answer.status}" + (f", {self._scrub(answer.reason)}" if answer.reason else "")
        if answer.status in BUSY:
            message = f"the registry at {self.address.url} is too busy to {what}: {reason}"
            return SealiftError("registry-unreachable", message, hint=f"wait until {self.where} has less to do")
        if answer.status in (401, 403):
            message = f"the registry at {self.address.url} does not allow us to {what}: {reason}"
            return SealiftError("registry-login", message, hint=f"give the login the right to push to {self.where}")
        message = f"the registry at {self.address.url} did not {what}: {reason}"
        return SealiftError("registry-refused", message, hint=f"look at the log of the registry at {self.where}")

    @property
    def where(self) -> str:
        """URL and prefix, as the site file names them."""
        return "/".join(part for part in (self.address.url, self.address.prefix) if part)

    def _scrub(self, text: str) -> str:
        secrets = (self._login.password, self._login.basic, self._login.identity_token) if self._login else ()
        for secret in filter(None, secrets):
            text = text.replace(secret, "…")
        return text

    def _is_ours(self, url: str) -> bool:
        parts = urlsplit(url)
        ours = urlsplit(self.address.url)
        if parts.scheme not in ("http", "https") or parts.hostname != ours.hostname:
            return False
        return parts.port in (None, ours.port)

    def _fetch(self, url: str, headers: Mapping[str, str], form: Mapping[str, str] | None) -> tuple[int, bytes]:
        if form is not None:
            typed = {**headers, "Content-Type": "application/x-www-form-urlencoded"}
            answer = self._request("POST", url, typed, urlencode(form).encode())
        else:
            answer = self._request("GET", url, headers, None)
        return answer.status, answer.body

    def _request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Any,
        *,
        retries: Retry | bool | None = None,
        timeout: Timeout | None = None,
    ) -> Answer:
        patience = self._patience
        try:
            # A pool of one host takes a path and reads it once; the manager reads a whole URL three times, and the URL
            # of an upload is long: a sixth of the time that a small blob takes.
            near = url.startswith(f"{self.address.url}/")
            pool = self._near if near else self._pool
            response = pool.request(
                method,
                url.removeprefix(self.address.url) if near else url,
                body=body,
                headers={"User-Agent": _AGENT, **headers},
                redirect=False,
                preload_content=False,
                retries=patience.repeats() if retries is None else retries,
                timeout=timeout or Timeout(connect=patience.connect, read=patience.answer),
            )
            return _read(response)
        except HTTPError as error:
            raise self._unreachable(url, error) from None  # its text may hold the query of an upload

    def _unreachable(self, url: str, error: HTTPError) -> SealiftError:
        parts = urlsplit(url)
        place = f"{parts.scheme}://{parts.netloc}"
        what = "the registry" if place == self.address.url else "a service of the registry"
        hint = f"is it running? try: curl -i {place}{'/v2/' if place == self.address.url else parts.path}"
        reason = error.reason if isinstance(error, MaxRetryError) and error.reason else error
        if isinstance(reason, SSLError):
            hint = self._advice.authority.format(place=place, host=parts.netloc)
        message = f"{what} at {place} cannot be reached: {_words(reason)}"
        return SealiftError("registry-unreachable", message, hint=hint)


def _read(response: urllib3.BaseHTTPResponse) -> Answer:
    """Take in an answer, no more than is allowed; the connection is used again only when nothing is left in it."""
    body = response.read(MAX_ANSWER)
    if len(body) == MAX_ANSWER:
        response.close()
    response.release_conn()
    challenges = tuple(response.headers.getlist("WWW-Authenticate"))
    return Answer(response.status, response.headers, challenges, body)


def _words(reason: Exception) -> str:
    """Why there was no answer, without the library's own wording."""
    kinds: tuple[tuple[type[Exception], str], ...] = (
        (NameResolutionError, "its name is not known"),
        (NewConnectionError, "nothing accepts a connection there"),  # for urllib3 a kind of the next one
        (ConnectTimeoutError, "nobody answers"),
        (ReadTimeoutError, "it stopped answering"),
    )
    for kind, words in kinds:
        if isinstance(reason, kind):
            return words
    if isinstance(reason, SSLError):
        cause = reason.args[0] if reason.args else None
        verdict = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "no TLS there"
        return f"its certificate or TLS is not accepted ({str(verdict)[:120]})"
    return "the connection broke"


def system_authorities() -> Path | None:
    """Whom this host trusts; None where the program's own default has to do."""
    return next((Path(path) for path in _AUTHORITIES if Path(path).is_file()), None)


def _trust(ca: Path | None) -> ssl.SSLContext:
    """Trusts ``ca`` alone, or else what this host trusts."""
    found = ca or system_authorities()
    try:
        return ssl.create_default_context(cafile=found)
    except OSError as error:
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else error.strerror
        message = f"cannot use the registry's authority {found}: {reason}"
        raise SealiftError(
            "certificate-missing", message, hint="registry.ca names a file of PEM certificates"
        ) from None
