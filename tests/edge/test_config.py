"""The configuration as a value: one text, read back as it was, and never one that HAProxy refuses."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from installer.edge.answers import alerts, parse_info, parse_stat, parse_workers
from installer.edge.config import Backend, EdgeConfig, Frontend, Protocol, Server, split_bind
from installer.edge.render import listens_on, mark, render
from installer.errors import SealiftError
from installer.site.names import COLOURS
from tests.edge.conftest import two_colours

PROTOCOLS: tuple[Protocol, Protocol] = ("http", "tcp")
names = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True)
ports = st.integers(1, 65535)
addresses = st.one_of(st.ip_addresses(v=4).map(str), st.ip_addresses(v=6).map(str))
paths = st.one_of(st.none(), st.from_regex(r"/[\x21-\x7e]{0,80}", fullmatch=True))


def bind(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


@st.composite
def configurations(draw: st.DrawFn) -> EdgeConfig:
    """Front doors of any shape that a site can ask for."""
    keys = draw(st.lists(st.tuples(names, names), max_size=4, unique=True))
    binds = iter(draw(st.lists(st.tuples(addresses, ports), min_size=8, max_size=8, unique=True)))
    fronts, backs = [], []
    for product, entry in keys:
        protocol = draw(st.sampled_from(PROTOCOLS))
        preview = draw(st.sampled_from((None, *COLOURS)))
        fronts.append(Frontend(product, entry, protocol, bind(*next(binds)), None, bind(*next(binds)), preview))
        for colour in draw(st.sets(st.sampled_from(COLOURS))):
            replicas = draw(st.lists(st.tuples(addresses, ports), max_size=3))
            servers = tuple(Server(f"{product}-{number}", *where) for number, where in enumerate(replicas))
            check, probe = draw(paths), draw(st.one_of(st.none(), ports))
            backs.append(Backend(product, colour, entry, protocol, servers, check, probe))
    return EdgeConfig(tuple(fronts), tuple(backs), draw(st.integers(0, 10)), draw(st.floats(0, 1e6)))


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Stands for the edge's folder, with a short name: sockets' names are limited."""
    with tempfile.TemporaryDirectory(prefix="e", dir="/tmp") as name:
        for part in ("maps", "run", "tls"):
            (Path(name) / part).mkdir()
        (Path(name) / "maps/colour.map").touch()
        yield Path(name)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configurations())
def test_haproxy_takes_every_configuration_without_a_warning(home: Path, config: EdgeConfig) -> None:
    (home / "haproxy.cfg").write_text(render(config).replace("/edge/", f"{home}/"))
    done = subprocess.run(
        ["/usr/sbin/haproxy", "-dW", "-c", "-f", home / "haproxy.cfg"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@settings(max_examples=200, deadline=None)
@given(configurations())
def test_reads_back_what_it_wrote(config: EdgeConfig) -> None:
    assert EdgeConfig.from_json(config.to_json()) == config
    assert EdgeConfig.from_json(config.to_json()).to_json() == config.to_json()


@settings(max_examples=100, deadline=None)
@given(configurations(), st.randoms())
def test_order_makes_no_difference_to_the_text(config: EdgeConfig, random: st.random_module) -> None:  # type: ignore[valid-type]
    fronts, backs = list(config.frontends), list(config.backends)
    random.shuffle(fronts)  # type: ignore[attr-defined]
    random.shuffle(backs)  # type: ignore[attr-defined]
    text = render(config)
    assert render(replace(config, frontends=tuple(fronts), backends=tuple(backs))) == text
    assert len(mark(text) or "") == 32
    assert listens_on(text) == {split_bind(at) for front in fronts for at in front.binds}


def example() -> EdgeConfig:
    return two_colours("lan-chat", "127.0.0.1", {"blue": "10.213.0.2", "green": "10.213.1.2"})


def test_every_change_changes_the_mark() -> None:
    config = example()
    changed = [
        config,
        replace(config, retries=1),
        replace(config, backends=config.backends[1:]),
        replace(config, frontends=config.frontends[1:]),
    ]
    assert len({mark(render(one)) for one in changed}) == len(changed)


def test_never_names_a_default_colour() -> None:
    text = render(replace(example(), frontends=tuple(replace(f, preview_colour=None) for f in example().frontends)))
    assert "default_backend" not in text
    assert text.count("use_backend") == text.count("map(/edge/maps/colour.map,none)]\n") == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: replace(c, frontends=c.frontends * 2), "entry point lan-chat.relay stands twice"),
        (lambda c: replace(c, backends=c.backends * 2), "backend lan-chat.relay.blue stands twice"),
        (
            lambda c: replace(c, frontends=(c.frontends[0], replace(c.frontends[1], bind=c.frontends[0].bind))),
            "address 127.0.0.1 port 8080 stands twice",
        ),
        (
            lambda c: replace(c, backends=(replace(c.backends[0], protocol="tcp"),)),
            "lan-chat.web.blue speaks tcp, its entry point http",
        ),
        (lambda c: replace(c, frontends=(replace(c.frontends[0], bind="web:80"),)), "web:80 is not an address"),
        (lambda c: replace(c, frontends=(replace(c.frontends[0], bind="1.2.3.4:0"),)), "1.2.3.4:0 is not an address"),
        (lambda c: Server("a", "db.internal", 5432), "db.internal is not an IP address"),
    ],
)
def test_refuses_a_front_door_that_cannot_be(change: object, message: str) -> None:
    with pytest.raises(SealiftError, match=message) as refusal:
        change(example())  # type: ignore[operator]
    assert refusal.value.id == "edge-failed"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"frontends": 1}',
        '{"colour": "blue"}',
        example().to_json().replace('"blue"', '"red"'),
        example().to_json().replace('"lan-chat"', '"lan-chat\\n  bind :1"'),
        example().to_json().replace('"10.213.0.2"', '"10.213.0.2 backup"'),
    ],
)
def test_refuses_a_kept_configuration_that_does_not_read(text: str) -> None:
    with pytest.raises(SealiftError) as refusal:
        EdgeConfig.from_json(text)
    assert refusal.value.id in ("state-damaged", "edge-failed")


@pytest.mark.parametrize("answer", ["", "no such thing", "# pxname,svname\nx", "# pxname,svname,status,scur\na,b,UP,x"])
def test_refuses_answers_that_do_not_read(answer: str) -> None:
    for parse in (parse_info, parse_stat, parse_workers):
        with pytest.raises(SealiftError) as refusal:
            parse(answer)
        assert refusal.value.id == "edge-failed"


def test_tells_the_cause_before_the_end() -> None:
    """A container that the engine starts again and again repeats itself in its log."""
    bind = "Binding [/edge/haproxy.cfg:33] for frontend wiki.web: cannot bind socket (Address already in use)"
    end = "[/usr/sbin/haproxy.main()] Some protocols failed to start their listeners! Exiting."
    log = f"[NOTICE]   (1) : haproxy version is 2.6\n[ALERT]    (1) : {bind}\n[ALERT]    (1) : {end}\n" * 4
    assert alerts(log) == (bind, end)
    assert alerts("docker: no such container\n") == ("docker: no such container",)
