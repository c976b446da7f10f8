"""What tests of every kind share: the engine, names and ports of their own, the site's images."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import docker
import pytest
import typer.main

from tests.claims import single_port
from tests.order import LongestFirst, longest_first

REPOSITORY = Path(__file__).resolve().parent.parent

if threading.current_thread() is threading.main_thread():
    # A shell in the background hands SIGINT down as ignored; what tests start must be able to be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)


# Every call of a command builds the parser of all verbs again: 0.1 s, which tests within one process pay once.
typer.main.get_command = cache(typer.main.get_command)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """`--dist loadfile` hands files out in the order that its workers collect them in."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        longest_first(items)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LongestFirst | None:
    """The longest files first."""
    return LongestFirst(config, log) if config.getoption("dist") == "loadfile" else None


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def wide_cache() -> Path:
    """What is costly to make and outlives a run: root filesystems, builds. Made again when missing."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    folder = Path(os.environ.get("SEALIFT_CACHE") or f"{home}/sealift")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def engine() -> Iterator[docker.DockerClient]:
    """The real Docker engine. Fails where none answers: `make test` starts one."""
    client = docker.from_env()
    client.ping()
    yield client
    client.close()


@pytest.fixture
def unique_name() -> Callable[[str], str]:
    """Makes names that no other test uses, for containers, networks, images."""

    def make(stem: str) -> str:
        return f"{stem}-{uuid.uuid4().hex[:10]}"

    return make


@pytest.fixture
def free_port() -> Callable[[], int]:
    """Finds TCP ports of 127.0.0.1 that nothing listens on and nobody else is given."""
    return single_port


@pytest.fixture(scope="session")
def edge_images(engine: docker.DockerClient) -> dict[str, str]:
    """References of the site's own images in the engine: `haproxy` and `registry`."""
    done = subprocess.run([REPOSITORY / "manifests/edge/build"], check=True, capture_output=True, text=True)
    references = [line.split()[1] for line in done.stdout.splitlines()]
    return {reference.split("/")[1].split(":")[0]: reference for reference in references}
