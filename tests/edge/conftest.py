"""A real HAProxy in its own container per test, on loopback addresses of its own, before small real services."""

from __future__ import annotations

import itertools
import random
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import docker
import pytest

from installer.edge import lifecycle
from installer.edge.config import Backend, EdgeConfig, Frontend, Server
from installer.edge.container import remove_edge
from installer.edge.runtime import EdgeRuntime
from installer.site.names import COLOURS, Colour, Names
from installer.system import run

HTTP, TCP, PREVIEW_HTTP, PREVIEW_TCP = 8080, 9000, 18000, 18001
"""Ports that the tests use: the addresses are a test's own, so that the ports can be the same."""


def own_address() -> str:
    """A loopback address that nobody else is likely to use."""
    return f"127.{random.randint(128, 250)}.{random.randint(0, 255)}.{random.randint(1, 254)}"


@pytest.fixture
def site_names() -> Names:
    """Names of a site of the test's own."""
    return Names(f"-{uuid.uuid4().hex[:8]}")


@pytest.fixture(scope="session")
def image_id(engine: docker.DockerClient, edge_images: dict[str, str]) -> str:
    """The id of HAProxy's image in the engine."""
    return str(engine.images.get(edge_images["haproxy"]).id)


@pytest.fixture
def edge_folder() -> Iterator[Path]:
    """The edge's folder of a site; absent at first."""
    state = Path(tempfile.mkdtemp(prefix="edge-test-"))
    yield state / "edge"
    shutil.rmtree(state)


Origin = Callable[[str], str]


@pytest.fixture
def origin() -> Iterator[Origin]:
    """Starts a service that answers with the name it is given; returns its address."""
    started: list[subprocess.Popen[str]] = []

    def start(name: str) -> str:
        address = own_address()
        program = Path(__file__).with_name("origin.py")
        process = subprocess.Popen(
            [sys.executable, program, name, address, str(HTTP), str(TCP)], stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        return address

    yield start
    for process in started:
        process.kill()
        process.wait()
        assert process.stdout
        process.stdout.close()


@dataclass(frozen=True)
class Door:
    """A front door that runs, and the configuration that it was given last."""

    names: Names
    runtime: EdgeRuntime
    address: str
    config: EdgeConfig

    def container(self, verb: str) -> None:
        """``docker VERB`` on its container."""
        subprocess.run(["docker", verb, self.names.edge], check=True, capture_output=True)


def two_colours(product: str, address: str, origins: dict[Colour, str]) -> EdgeConfig:
    """A product with an HTTP and a TCP entry point, in the colours that have an origin. No retries."""
    entries = (("web", "http", HTTP, PREVIEW_HTTP), ("relay", "tcp", TCP, PREVIEW_TCP))
    return EdgeConfig(
        tuple(
            Frontend(product, name, protocol, f"{address}:{port}", None, f"{address}:{preview}", "green")  # type: ignore[arg-type]
            for name, protocol, port, preview in entries
        ),
        tuple(
            Backend(product, colour, name, protocol, (Server("gateway-1", where, port),))  # type: ignore[arg-type]
            for colour, where in origins.items()
            for name, protocol, port, _ in entries
        ),
        retries=0,
        drain=10.0,
    )


def merged(*configs: EdgeConfig) -> EdgeConfig:
    """Several products behind one door."""
    return replace(
        configs[0],
        frontends=tuple(itertools.chain(*(config.frontends for config in configs))),
        backends=tuple(itertools.chain(*(config.backends for config in configs))),
    )


@pytest.fixture
def door(site_names: Names, image_id: str, edge_folder: Path, origin: Origin) -> Iterator[Door]:
    """A front door for the product ``lan-chat`` in both colours, neither of them serving yet."""
    address = own_address()
    config = two_colours("lan-chat", address, {colour: origin(colour) for colour in COLOURS})
    runtime = lifecycle.start(site_names, image_id, edge_folder, config)
    yield Door(site_names, runtime, address, config)
    run(remove_edge(site_names))
