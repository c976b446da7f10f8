"""Another Python, another Debian, another zlib and OpenSSL: the same bytes. ``make reproducible`` runs this.

Not among the tests that are found by themselves: the root file system takes minutes to make, and the network.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard

from tests.e2e.circumstances import PLAIN, REPOSITORY, Circumstance, contents, make_origin, run
from tests.program.hosts import mirror

pytestmark = pytest.mark.e2e

SUITE, PYTHON = "trixie", "3.13"
LOCK = REPOSITORY / "requirements.lock"
INSTALLER = ("--installer", "manifests/board/install")
# Enters the root file system, in which nothing is written but below /mnt.
_SCRIPT = """
mount --bind "$ROOT" "$ROOT" && mount -o remount,bind,ro "$ROOT"
mount --bind "$PLACE" "$ROOT/mnt"
mount -t tmpfs tmpfs "$ROOT/tmp"
mount --bind /dev "$ROOT/dev"
exec chroot "$ROOT" sh -euc 'cd "$1"; shift; exec "$@"' sh "$@"
"""


@pytest.fixture(scope="session")
def root(wide_cache: Path) -> Path:
    """Debian's next release with its own Python and the locked libraries for it; made once."""
    stamp = hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]
    folder = wide_cache / "rootfs" / f"{SUITE}-python{PYTHON}-{stamp}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{SUITE}-python.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            make_root(unfinished)
            unfinished.rename(folder)
    return folder


def make_root(folder: Path) -> None:
    """mmdebstrap and pip; pip chooses the wheels for the other Python and checks them against the lock."""
    packages = "--include=python3,git,ca-certificates"
    quiet = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", packages, SUITE, str(folder), mirror()]
    subprocess.run(quiet, check=True)
    where = ["--target", str(folder / "opt/libraries"), "--python-version", PYTHON, "--only-binary=:all:", "--no-deps"]
    pip = [sys.executable, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-compile"]
    subprocess.run([*pip, *where, "--require-hashes", "-r", str(LOCK)], check=True)


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    (tmp_path / "origin").mkdir()
    return make_origin(tmp_path / "origin")


@pytest.fixture
def other(root: Path, tmp_path: Path) -> Iterator[Path]:
    """A folder that the other system sees as /mnt, with our code in it."""
    place = tmp_path / "other"
    for package in ("bundler", "installer"):
        shutil.copytree(REPOSITORY / package, place / "code" / package, ignore=shutil.ignore_patterns("__pycache__"))
    yield place


def elsewhere(root: Path, place: Path, folder: str, *words: str) -> str:
    """Run a program of the other system in ``folder`` of ``place``; its stdout."""
    environment = PLAIN | {"PYTHONPATH": "/mnt/code:/opt/libraries", "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-eu", "-c", _SCRIPT, "sh", f"/mnt/{folder}", *words],
        env=environment | {"ROOT": str(root), "PLACE": str(place)},
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_other_system_has_another_python_and_the_same_compressor(root: Path, other: Path) -> None:
    version = elsewhere(root, other, "code", "python3", "-c", "import sys; print(*sys.version_info[:2], sep='.')")
    assert version.strip() == PYTHON != f"{sys.version_info.major}.{sys.version_info.minor}"
    asked = "import zstandard as z; print(z.__version__, *z.ZSTD_VERSION, z.__file__.startswith('/opt/libraries'))"
    compressor = elsewhere(root, other, "code", "python3", "-c", asked).split()
    assert compressor == [zstandard.__version__, *map(str, zstandard.ZSTD_VERSION), "True"]


def test_another_python_builds_the_same_bytes(root: Path, other: Path, origin: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    code, value = run(origin, here, Circumstance(), *INSTALLER)
    assert code == 0, value
    subprocess.run(["git", "clone", "-q", origin, other / "product"], check=True)
    shutil.copytree(origin / "keys", other / "product/keys")
    elsewhere(root, other, "product", "python3", "-m", "bundler", "build", "v2.1.0", *INSTALLER)
    ours, theirs = contents(here / "product" / value["kit"]), contents(other / "product" / value["kit"])
    assert len(theirs) == 6
    assert [name for name in ours | theirs if ours.get(name) != theirs.get(name)] == []


def test_another_python_finds_our_bundle_reproducible(root: Path, other: Path, origin: Path, tmp_path: Path) -> None:
    here = tmp_path / "here"
    here.mkdir()
    _, value = run(origin, here, Circumstance(), *INSTALLER)
    subprocess.run(["git", "clone", "-q", origin, other / "product"], check=True)
    shutil.copytree(here / "product" / value["kit"], other / "kit")
    command = ("python3", "-m", "bundler", "build", "v2.1.0", *INSTALLER, "--check", "/mnt/kit")
    assert "byte for byte" in elsewhere(root, other, "product", *command)
    (other / "product/manifests/board/UPGRADE.md").write_text("changed\n")
    with pytest.raises(AssertionError, match=r"docs/UPGRADE\.md: other bytes"):
        elsewhere(root, other, "product", *command)
