"""One repository at one registry: manifests whole, blobs as a stream that goes on where it broke off.

oras-py does the talking about tokens. Its own calls for manifests give a parsed value without the bytes that a digest
is over, and those for blobs take them whole into memory or write them unchecked to their place; so bytes are read here.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import requests
from oras.provider import Registry
from urllib3.exceptions import HTTPError

from bundler.collect.content import CHUNK
from bundler.collect.documents import INDEXES, MANIFESTS, MAX_JSON
from bundler.collect.registry.hosts import CERTS_D, Endpoint
from bundler.collect.registry.login import Credentials, Login
from bundler.collect.registry.session import BUSY, Session
from installer.bundle.digest import Digest
from installer.errors import SealiftError
from installer.registry.patience import Patience

_ACCEPT: Final = ", ".join((*INDEXES, *MANIFESTS, "application/vnd.docker.distribution.manifest.v1+prettyjws"))
_NO_TLS: Final = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "RECORD_LAYER_FAILURE",
        "UNKNOWN_PROTOCOL",
        "PACKET_LENGTH_TOO_LONG",
        "UNEXPECTED_EOF_WHILE_READING",
    }
)
"""What OpenSSL says of an answer that is no TLS."""


@dataclass(frozen=True)
class Manifest:
    """A manifest as a registry gave it; its digest is that of its bytes."""

    media_type: str
    raw: bytes

    @property
    def digest(self) -> str:
        return str(Digest.of(self.raw))


@dataclass(frozen=True)
class Connection:
    """An endpoint, how it is spoken to, and who we are there; shared by all its repositories."""

    endpoint: Endpoint
    url: str
    session: Session
    credentials: Credentials
    patience: Patience

    @classmethod
    def to(cls, endpoint: Endpoint, patience: Patience) -> Connection:
        """Raises ``certificate-missing`` (7), ``registry-login`` (9)."""
        plain = endpoint.plain_http or (endpoint.is_loopback and _speaks_no_tls(endpoint))
        session = Session(None if plain else endpoint.tls(), patience)
        url = f"{'http' if plain else 'https'}://{endpoint.address}"
        return cls(endpoint, url, session, Credentials.of(endpoint.host), patience)


class RepositoryClient(Registry):  # type: ignore[misc]
    """Asks one repository. Every method raises ``registry-*`` (9); None is "not there"."""

    def __init__(self, connection: Connection, name: str) -> None:
        """Asks nothing yet."""
        super().__init__(hostname=connection.endpoint.address, insecure=connection.url.startswith("http:"))
        self._endpoint, self._patience = connection.endpoint, connection.patience
        self._name, self._url, self.session = connection.endpoint.repository(name), connection.url, connection.session
        self.auth = Login(connection.endpoint, connection.url, connection.session, connection.credentials)

    @property
    def place(self) -> str:
        """For messages."""
        return f"{self._endpoint.host}/{self._name}"

    def manifest(self, reference: str) -> Manifest | None:
        """A manifest or index by tag or digest. Raises ``digest-mismatch`` (4), ``too-large`` (3) too."""
        with self._ask("GET", f"manifests/{quote(reference, safe=':')}", Accept=_ACCEPT) as answer:
            if not self._found(answer, f"give manifest {reference}"):
                return None
            try:
                raw = answer.raw.read(MAX_JSON + 1, decode_content=True)
            except (HTTPError, OSError) as error:
                raise self._cut_off(f"manifest {reference}") from error
        if len(raw) > MAX_JSON:
            raise SealiftError("too-large", f"manifest {reference} of {self.place} has more than {MAX_JSON} bytes")
        found = Manifest(answer.headers.get("Content-Type", "").partition(";")[0].strip(), raw)
        named = [answer.headers.get("Docker-Content-Digest", ""), reference]
        if any(one.startswith("sha256:") and one != found.digest for one in named):
            raise SealiftError(
                "digest-mismatch",
                f"{self.place} gave other bytes for manifest {reference} than its digest says",
                hint="the registry or something before it is damaged; ask who runs it",
            )
        return found

    def digest(self, reference: str) -> str | None:
        """The digest behind a tag, as the registry says."""
        with self._ask("HEAD", f"manifests/{quote(reference, safe=':')}", Accept=_ACCEPT) as answer:
            answer.raw.drain_conn()  # else the connection would be closed, not used again
            found = self._found(answer, f"say what {reference} is")
            return answer.headers.get("Docker-Content-Digest") if found else None

    def referrers(self, digest: str, *, strict: bool = False) -> bytes | None:
        """The index of what refers to a manifest (OCI distribution-spec 1.1), or None where that is not offered.

        ``strict``: nothing passes for "not offered" but a plain no, and only the whole list will do. Raises
        ``referrers-too-many``, ``too-large`` (3) then.
        """
        with self._ask("GET", f"referrers/{digest}") as answer:
            offered = answer.headers.get("Content-Type", "").startswith(INDEXES[0])
            if strict and answer.status_code not in (200, 405):
                self._found(answer, f"list what refers to {digest}")
            if answer.status_code != 200 or not offered:
                return None
            raw = bytes(answer.raw.read(MAX_JSON + 1, decode_content=True))
            more = "the registry gives them page by page" if "Link" in answer.headers else ""
        if strict and (more or len(raw) > MAX_JSON):
            what = more or f"their list has more than {MAX_JSON} bytes"
            raise SealiftError("referrers-too-many", f"too much refers to {digest[:19]} at {self.place}: {what}")
        return raw[:MAX_JSON]

    def has_blob(self, digest: str) -> bool:
        """Whether the repository has it."""
        with self._ask("HEAD", f"blobs/{digest}") as answer:
            answer.raw.drain_conn()
            return self._found(answer, f"say whether it has {digest}")

    def blob(self, digest: str, size: int, start: int) -> Iterator[bytes]:
        """The bytes from ``start`` on, in pieces of at most 1 MiB. Where the connection breaks, it goes on from there.

        Raises ``image-not-found`` (2), ``registry-cut-off`` (9), ``digest-mismatch`` (4) for another size.
        """
        position, failures = start, 0
        while position < size:
            try:
                for chunk in self._pieces(digest, size, position):
                    position, failures = position + len(chunk), 0
                    yield chunk
            except (HTTPError, OSError):  # requests' own errors are OSErrors
                broken = None
            except SealiftError as error:
                if error.id != "registry-unreachable" or not position:
                    raise
                broken = error  # it was there a moment ago
            else:
                broken = None
            if position < size:
                failures += 1
                if failures > self._patience.retries:
                    raise broken or self._cut_off(f"blob {digest} after {position} of {size} bytes")
                time.sleep(min(self._patience.pause * 2**failures, self._patience.longest_pause))

    def _pieces(self, digest: str, size: int, start: int) -> Iterator[bytes]:
        """One attempt. A registry that knows no ranges begins anew, and what we have is passed over."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        with self._ask("GET", f"blobs/{digest}", **{"Accept-Encoding": "identity"}, **headers) as answer:
            if not self._found(answer, f"give blob {digest}"):
                raise SealiftError("image-not-found", f"{self.place} has no blob {digest}", hint="push the image again")
            position = start if answer.status_code == 206 else 0
            self._check_size(answer, digest, position, size)
            while position < size:
                chunk = answer.raw.read(min(CHUNK, size - position), decode_content=False)
                if not chunk:
                    return
                fresh, position = chunk[max(0, start - position) :], position + len(chunk)
                if fresh:
                    yield fresh

    def _check_size(self, answer: requests.Response, digest: str, start: int, size: int) -> None:
        length = answer.headers.get("Content-Length", "")
        begins = answer.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        wrong = length.isdecimal() and int(length) != size - start
        if wrong or (answer.status_code == 206 and begins != str(start)):
            raise SealiftError(
                "digest-mismatch",
                f"{self.place} has a blob {digest} of another size than the {size} bytes that its manifest says",
                hint="the registry is damaged: push the image again",
            )

    def _ask(self, method: str, path: str, **headers: str) -> requests.Response:
        """One request with its login; without the decorator of oras-py, which sleeps for two minutes on any error."""
        url = f"{self._url}/v2/{self._name}/{path}"
        ask: Any = Registry.do_request.__wrapped__
        try:
            answer: requests.Response = ask(self, url, method, headers=headers, stream=True)
        except requests.exceptions.RequestException as error:
            raise self._unreachable(error) from None  # its text may hold a signed address
        return answer

    def _found(self, answer: requests.Response, what: str) -> bool:
        """True for a good answer, False for 404. ``what``: an infinitive for the message."""
        status = answer.status_code
        if status in (200, 206):
            return True
        if status == 404:
            return False
        if status in BUSY:
            later = answer.headers.get("Retry-After", "")
            asks = f" and asks for patience ({later[:40]})" if later else ""
            raise SealiftError(
                "registry-unreachable",
                f"the registry {self._endpoint.host} is too busy to {what}: status {status}{asks}",
                hint="try again later, or name a mirror of it",
            )
        if status in (401, 403):
            raise self.auth.rejected()
        raise SealiftError(
            "registry-refused",
            f"the registry {self._endpoint.host} did not {what}: status {status}",
            hint=f"look at the log of {self._endpoint.host}",
        )

    def _unreachable(self, error: requests.exceptions.RequestException) -> SealiftError:
        host, cause = self._endpoint.host, _cause(error)
        hint = "is it running, and is its name right?"
        if isinstance(error, requests.exceptions.SSLError):
            verdict = getattr(cause, "verify_message", "") or getattr(cause, "reason", "") or "no TLS there"
            why = f"its certificate or TLS is not accepted ({str(verdict)[:120]})"
            hint = f"name who signed it as `ca` of {host} under `registries:`, or in {CERTS_D[0]}/{host}/ca.crt"
        elif isinstance(error, requests.exceptions.Timeout):
            why = "it does not answer in time"
        elif isinstance(error, requests.exceptions.InvalidURL | requests.exceptions.TooManyRedirects):
            why = f"it leads us astray: {error}"
        elif isinstance(cause, ConnectionRefusedError):
            why = "nothing accepts a connection there"
        else:
            why = "the connection failed"
        return SealiftError("registry-unreachable", f"the registry {host} cannot be reached: {why}", hint=hint)

    def _cut_off(self, what: str) -> SealiftError:
        return SealiftError(
            "registry-cut-off",
            f"the connection to {self._endpoint.host} broke again and again: {what}",
            hint="build again when the network is better; a mirror near by helps",
        )


def _speaks_no_tls(endpoint: Endpoint) -> bool:
    """Whether what listens there answers TLS with something else. Bad certificates and alerts are TLS."""
    probe = Session(endpoint.tls(), Patience(connect=5, answer=5, retries=0))
    try:
        probe.request("GET", f"https://{endpoint.address}/v2/", stream=True).close()
    except requests.exceptions.SSLError as error:
        return getattr(_cause(error), "reason", "") in _NO_TLS
    except requests.exceptions.ConnectionError as error:
        return not isinstance(_cause(error), ConnectionRefusedError)
    except requests.exceptions.RequestException:
        return False
    finally:
        probe.close()
    return False


def _cause(error: BaseException | None) -> BaseException | None:
    """The innermost reason that a library wrapped up."""
    for _ in range(10):
        inner = getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            inner = next((one for one in getattr(error, "args", ()) if isinstance(one, BaseException)), None)
        inner = inner or (error.__cause__ if error else None)
        if inner is None or isinstance(error, ssl.SSLError):
            return error
        error = inner
    return error
