"""The program, built with the real installer and with one that answers questions, and hosts to run it on."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundler.program import build_program
from tests.program.hosts import ROOTS, Host, root_filesystem

HERE = Path(__file__).resolve().parent
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def real_program(wide_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stick with the program as it is shipped."""
    return build_program(tmp_path_factory.mktemp("real") / "install", cache=wide_cache)


@pytest.fixture(scope="session")
def build_standin(
    repository: Path, wide_cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Path]:
    """Builds a program of a given version that answers questions about the world it runs in."""

    def build(version: str) -> Path:
        folder = tmp_path_factory.mktemp("standin")
        package = folder / "installer"
        shutil.copytree(repository / "installer", package, ignore=shutil.ignore_patterns("__pycache__"))
        (package / "__init__.py").write_text(f'"""Stands in."""\n\n__version__ = "{version}"\n')
        shutil.copy(HERE / "standin.py", package / "__main__.py")
        return build_program(folder / "stick/install", cache=wide_cache, package=package)

    return build


@pytest.fixture(scope="session")
def standin(build_standin: Callable[[str], Path]) -> Path:
    """A program, version 1.2.3, that answers questions about the world it runs in."""
    return build_standin("1.2.3")


@pytest.fixture(params=sorted(ROOTS))
def any_root(request: pytest.FixtureRequest, wide_cache: Path) -> Path:
    """Each of the root filesystems in turn."""
    return root_filesystem(request.param, wide_cache)


@pytest.fixture(scope="session")
def compose_plugin() -> Path:
    """The Compose plugin of this machine."""
    asked = ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    return next(Path(plugin["Path"]) for plugin in json.loads(done.stdout) if plugin["Name"] == "compose")


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where a host keeps what it writes: in memory where that has room, for it is much; gone after the test."""
    roomy = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4_000_000_000
    folder = Path(tempfile.mkdtemp(prefix="sealift-host-", dir=MEMORY if roomy else tmp_path))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def host(any_root: Path, scratch: Path, standin: Path) -> Host:
    """Each kind of host in turn, new, with a stick in it."""
    return Host(any_root, scratch, standin.parent)


@pytest.fixture(params=["bullseye", "busybox-alone"])
def unlike_host(request: pytest.FixtureRequest, wide_cache: Path, scratch: Path, standin: Path) -> Host:
    """The two kinds of host that are least alike in their tools."""
    return Host(root_filesystem(request.param, wide_cache), scratch, standin.parent)


@pytest.fixture
def one_host(wide_cache: Path, scratch: Path, standin: Path) -> Host:
    """A new Debian 11 with a stick in it, for what doesn't depend on the kind of host."""
    return Host(root_filesystem("bullseye", wide_cache), scratch, standin.parent)
