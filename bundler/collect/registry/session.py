"""HTTP to one registry: bounded times, bounded repeats, and redirects that carry no credentials elsewhere.

Rules:
- Busy (429, 500, 502, 503, 504) or gone: asked again a few times, as late as ``Retry-After`` says, but at most
  ``longest_pause`` later.
- A redirect to another origin (a blob store) gets no ``Authorization``, and never leads from TLS to plain HTTP.
- Proxies of the environment are used, but not for loopback addresses. ``.netrc`` plays no part.
"""

from __future__ import annotations

import ssl
from typing import Any, Final
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from installer.registry.address import is_loopback
from installer.registry.patience import BUSY as BUSY_SERVERS
from installer.registry.patience import Patience

BUSY: Final = BUSY_SERVERS | {500}
"""A server of a large site that fails may be followed by one that does not."""
_REDIRECTS: Final = 5
_MAX_WHOLE: Final = 1024 * 1024
_PORTS: Final = {"http": 80, "https": 443}


class Session(requests.Session):
    """What :mod:`oras` sends its requests through. ``plain`` allows plain HTTP."""

    def __init__(self, tls: ssl.SSLContext | None, patience: Patience) -> None:
        super().__init__()
        self.auth = _unchanged
        self._patience = patience
        self._plain = tls is None
        retries = patience.repeats(BUSY)
        for scheme in ("https://", "http://"):
            self.mount(scheme, _Adapter(tls, retries))

    def request(self, method: Any, url: Any, **options: Any) -> requests.Response:  # type: ignore[override]
        """As :meth:`requests.Session.request`, under the rules above."""
        whole = not options.get("stream")
        times = (self._patience.connect, self._patience.answer)
        options |= {"allow_redirects": False, "timeout": times, "stream": True}
        for _ in range(_REDIRECTS):
            if is_loopback(urlsplit(url).hostname or ""):
                options["proxies"] = {"http": None, "https": None}
            answer = super().request(method, url, **options)
            target = self.get_redirect_target(answer)
            if target is None or method not in ("GET", "HEAD"):
                if whole:  # what a token service says is taken into memory, but not whatever it says
                    answer._content = answer.raw.read(_MAX_WHOLE, decode_content=True)
                return answer
            answer.close()
            target = urljoin(url, target)
            if origin(target) != origin(url):
                headers = options.get("headers") or {}
                options["headers"] = {key: headers[key] for key in headers if key.lower() != "authorization"}
                options.pop("proxies", None)
            if origin(target)[0] != "https" and not (self._plain and origin(target)[0] == "http"):
                raise requests.exceptions.InvalidURL("a redirect from TLS to plain HTTP")
            url = target
        raise requests.exceptions.TooManyRedirects("too many redirects")


def origin(url: str) -> tuple[str, str, int]:
    """Scheme, host and port."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme, 0)


class _Adapter(HTTPAdapter):
    """Trusts what a context says; the library would trust its own list of authorities."""

    def __init__(self, tls: ssl.SSLContext | None, retries: Retry) -> None:
        self._tls = tls
        self._options: dict[str, Any] = {"ssl_context": tls} if tls else {}
        super().__init__(max_retries=retries)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:
        super().init_poolmanager(connections, maxsize, block, **options, **self._options)

    def proxy_manager_for(self, proxy: Any, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, **self._options)

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        if self._tls is None:
            super().cert_verify(conn, url, True, cert)  # type: ignore[no-untyped-call]


def _unchanged(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request
