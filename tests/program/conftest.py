"""The program, built with the real installer and with one that answers questions, and hosts to run it on."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bundler.program import build_program
from installer import __version__
from tests.program.hosts import Host, root_filesystem

HERE = Path(__file__).resolve().parent
MEMORY = Path("/dev/shm")


@pytest.fixture(scope="session")
def real_program(wide_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stick with the program as it is shipped."""
    return build_program(tmp_path_factory.mktemp("real") / "install", cache=wide_cache)


@pytest.fixture(scope="session")
def newer_program(repository: Path, wide_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, but that it calls itself 9.9.9: only our own package is packed again."""
    folder = tmp_path_factory.mktemp("newer")
    package = folder / "installer"
    shutil.copytree(repository / "installer", package, ignore=shutil.ignore_patterns("__pycache__"))
    text = (package / "__init__.py").read_text()
    (package / "__init__.py").write_text(text.replace(f'"{__version__}"', '"9.9.9"'))
    return build_program(folder / "install", cache=wide_cache, package=package)


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


@pytest.fixture(scope="session")
def compose_plugin() -> Path:
    """The Compose plugin of this machine."""
    asked = ["docker", "info", "--format", "{{json .ClientInfo.Plugins}}"]
    done = subprocess.run(asked, check=True, capture_output=True, text=True)
    return next(Path(plugin["Path"]) for plugin in json.loads(done.stdout) if plugin["Name"] == "compose")


def roomy_folder() -> Path | None:
    """A folder in memory, if it has room for some unpacked programs."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 4_000_000_000 else None


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """Where a host keeps what it writes: in memory where that has room, for it is much; gone after the test."""
    folder = Path(tempfile.mkdtemp(prefix="sealift-host-", dir=roomy_folder() or tmp_path))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def after(wide_cache: Path, standin: Path) -> Iterator[Callable[[str], Path]]:
    """Makes a layer: what a host has written when the stand-in was started there with a word. Once for each."""
    with tempfile.TemporaryDirectory(prefix="sealift-layers-", dir=roomy_folder()) as folder:

        @functools.cache
        def make(word: str) -> Path:
            one = Host(root_filesystem("bookworm", wide_cache), Path(folder, word or "nothing"), standin.parent)
            one.scratch.mkdir()
            assert one.install(word).returncode == 0
            return one.changes

        yield make


@pytest.fixture(params=["bookworm", "busybox-alone"])
def root(request: pytest.FixtureRequest, wide_cache: Path) -> Path:
    """The two root filesystems that are least alike in their tools."""
    return root_filesystem(request.param, wide_cache)


@pytest.fixture
def host(root: Path, scratch: Path, standin: Path) -> Host:
    """Two kinds of host in turn, new, with a stick in it."""
    return Host(root, scratch, standin.parent)


@pytest.fixture
def used_host(root: Path, scratch: Path, standin: Path, after: Callable[[str], Path]) -> Host:
    """The same, where the program ran once and was unpacked: it starts at once."""
    return Host(root, scratch, standin.parent, layers=(after(""),))


@pytest.fixture
def bare_host(wide_cache: Path, scratch: Path, standin: Path) -> Host:
    """One static busybox and no libc: what works there works where there is more."""
    return Host(root_filesystem("busybox-alone", wide_cache), scratch, standin.parent)


@pytest.fixture
def one_host(wide_cache: Path, scratch: Path, standin: Path) -> Host:
    """A new Debian 11 with a stick in it, for what doesn't depend on the kind of host."""
    return Host(root_filesystem("bullseye", wide_cache), scratch, standin.parent)


@pytest.fixture
def own_host(wide_cache: Path, scratch: Path, standin: Path, after: Callable[[str], Path]) -> Host:
    """A Debian 11 that has the program as its own `sealift`."""
    return Host(root_filesystem("bullseye", wide_cache), scratch, standin.parent, layers=(after("place"),))
