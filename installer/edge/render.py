"""The text of ``haproxy.cfg``. The same configuration gives the same bytes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from installer.edge.config import Backend, EdgeConfig, Frontend, Protocol, Server, split_bind

HOME: Final = "/edge"
"""Where the edge's folder is mounted in the container."""
COLOUR_MAP: Final = f"{HOME}/maps/colour.map"
STATS_SOCKET: Final = f"{HOME}/run/stats.sock"
MASTER_SOCKET: Final = f"{HOME}/run/master.sock"
MONITOR_SOCKET: Final = f"{HOME}/run/monitor.sock"
NO_COLOUR: Final = "none"
"""What the colour map answers for a product it does not know: no backend has this colour."""
HANDOVER: Final = "handover"
"""What a worker from before a reload is told instead of a colour: let the current worker answer."""

_LINGER: Final = 24 * 3600
"""Seconds after which a worker from before a reload is ended whatever it still serves."""

# noreuseport: without it a second front door of the same user would bind the same port and get half of the
# connections; with it that is an error. A reload hands its sockets over, so it needs no second bind.
# monitor: answers 200 while HAProxy lives, and keeps the map known while no product is there.
# fd-hard-limit: engines give a million descriptors, and HAProxy would allocate tables for all of them.
_GLOBAL: Final = """\
global
  description sealift {mark}
  log stdout format raw local0 info
  noreuseport
  fd-hard-limit 65536
  hard-stop-after {linger}s
  ssl-default-bind-options ssl-min-ver TLSv1.2
  stats socket {stats} mode 600 level admin expose-fd listeners

defaults
  log global
  retries {retries}
  timeout connect 5s
  timeout http-request 10s
  timeout http-keep-alive 30s
  timeout client 5m
  timeout server 5m
  timeout queue 10s
  timeout tunnel 24h
  option tcpka
  option dontlog-normal
  option log-health-checks

frontend sealift
  mode http
  bind unix@{monitor} mode 600
  monitor-uri /
  http-request set-var(txn.colour) str({none}),map({colours},{none})
"""

# The query is left out: it may hold what only the product should know.
_LOG_HTTP: Final = (
    """{"time":"%tr","client":"%ci","entry":"%f","server":"%b/%s","method":"%HM","""
    """"path":"%[capture.req.uri,field(1,?),json(utf8s)]","status":%ST,"end":"%tsc","retries":"%rc","took_ms":%Ta}"""
)
_LOG_TCP: Final = (
    """{"time":"%t","client":"%ci","entry":"%f","server":"%b/%s","bytes":%B,"end":"%tsc","retries":"%rc","""
    """"took_ms":%Tt}"""
)
_HTTP: Final = ("mode http", f"log-format '{_LOG_HTTP}'", "option idle-close-on-response")
_MARK: Final = re.compile(r"^  description sealift ([0-9a-f]{32})$", re.MULTILINE)
_BIND_LINE: Final = re.compile(r"^  bind ((?:\[[0-9a-fA-F:.]+\]|[0-9.]+):\d+)", re.MULTILINE)


def render(config: EdgeConfig) -> str:
    """The text of ``haproxy.cfg``. Its mark names the text itself, and the running HAProxy tells it (``show info``)."""
    text = _text(config, "0" * 32)
    return _text(config, hashlib.sha256(text.encode()).hexdigest()[:32])


def mark(text: str) -> str | None:
    """The mark that stands in a rendered configuration, or in the ``description`` that a running HAProxy tells."""
    match = _MARK.search(text)
    return match[1] if match else None


def listens_on(text: str) -> frozenset[tuple[str, int]]:
    """Every network address and port that a rendered configuration binds."""
    return frozenset(split_bind(bind) for bind in _BIND_LINE.findall(text))


def _text(config: EdgeConfig, name: str) -> str:
    head = _GLOBAL.format(
        mark=name,
        linger=max(_LINGER, int(config.drain) + 1),
        stats=STATS_SOCKET,
        monitor=MONITOR_SOCKET,
        retries=config.retries,
        none=NO_COLOUR,
        colours=COLOUR_MAP,
    )
    fronts = sorted(config.frontends, key=lambda front: front.name)
    backs = sorted(config.backends, key=lambda back: back.name)
    known = frozenset(back.name for back in backs)
    parts = [head, *(_frontend(front) for front in fronts), *_previews(fronts, known)]
    parts += [_handover(front) for front in fronts if front.protocol == "http"]
    return "\n".join([*parts, *(_backend(back, config.retries) for back in backs)])


def _frontend(front: Frontend) -> str:
    tls = f" ssl crt {HOME}/{front.tls_pem} alpn http/1.1" if front.tls_pem and front.protocol == "http" else ""
    if front.tls_pem and front.protocol == "tcp":
        tls = f" ssl crt {HOME}/{front.tls_pem}"
    return _section(
        f"frontend {front.name}",
        f"bind {_bind(front.bind)}{tls}",
        *_front_options(front),
        _by_colour(front),
    )


def _by_colour(front: Frontend) -> str:
    return f"use_backend {front.name}.%[str({front.product}),map({COLOUR_MAP},{NO_COLOUR})]"


def _handover(front: Frontend) -> str:
    """From the kept-alive connections of an old worker to the current one. The headers were set by the old worker."""
    # A socket's name may have 97 bytes, two names of ours have more.
    short = hashlib.sha256(front.name.encode()).hexdigest()[:16]
    name, path = f"{front.name}.{HANDOVER}", f"{HOME}/run/{short}.sock"
    return "\n".join(
        [
            _section(f"frontend {name}", f"bind unix@{path} mode 600", *_HTTP, _by_colour(front)),
            _section(f"backend {name}", "mode http", f"server current unix@{path}"),
        ]
    )


def _previews(fronts: Iterable[Frontend], known: frozenset[str]) -> list[str]:
    return [_preview(front, front.preview_bind, known) for front in fronts if front.preview_bind is not None]


def _preview(front: Frontend, bind: str, known: frozenset[str]) -> str:
    target = f"{front.name}.{front.preview_colour}"
    use = (f"default_backend {target}",) if target in known else ()
    return _section(
        f"frontend {front.name}.preview",
        f"bind {_bind(bind)}",
        *_front_options(front),
        *use,
    )


def _front_options(front: Frontend) -> tuple[str, ...]:
    if front.protocol == "tcp":
        return ("mode tcp", f"log-format '{_LOG_TCP}'")
    # A preview says what the entry point itself says, so that the product behaves as it will when it serves.
    scheme = "https" if front.tls_pem else "http"
    return (
        *_HTTP,
        "option forwardfor",
        f"http-request set-header X-Forwarded-Proto {scheme}",
    )


def _backend(back: Backend, retries: int) -> str:
    # One failed check takes a new server out, one good one brings it in: it counts as up before the first.
    probe = f" port {back.health_port}" if back.health_port else ""
    return _section(
        f"backend {back.name}",
        f"mode {back.protocol}",
        f"balance {_balance(back.protocol)}",
        *(("option redispatch 1",) if retries else ()),
        *_check(back.health_path),
        f"default-server check{probe} inter 1s fastinter 250ms downinter 250ms rise 1 fall 3",
        *(_server(server) for server in sorted(back.servers, key=lambda server: server.name)),
    )


def _check(path: str | None) -> tuple[str, ...]:
    if path is None:
        return ()
    quoted = path.replace("'", "'\\''")
    return (
        "option httpchk",
        f"http-check send meth GET uri '{quoted}' ver HTTP/1.1 hdr Host localhost hdr User-Agent sealift-edge",
        "http-check expect status 200-399",
    )


def _balance(protocol: Protocol) -> str:
    return "roundrobin" if protocol == "http" else "leastconn"


def _server(server: Server) -> str:
    address = f"[{server.address}]" if ":" in server.address else server.address
    return f"server {server.name} {address}:{server.port}"


def _bind(bind: str) -> str:
    address, port = split_bind(bind)
    # A site that binds [::] means every address of both kinds: it has one address per entry point.
    return f"[{address}]:{port}{' v4v6' if address == '::' else ''}" if ":" in address else f"{address}:{port}"


def _section(head: str, *lines: str) -> str:
    return "".join([f"{head}\n", *(f"  {line}\n" for line in lines)])
