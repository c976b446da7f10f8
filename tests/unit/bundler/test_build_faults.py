"""A disk that is full or broken, and a kill, at every call of a build that changes the disk.

Whatever happens, what stands under the final name is right or not there, and building again gives the same bytes.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler import build as building
from bundler.build import Request, build
from bundler.durable import PARTIAL
from bundler.signing.sign import generate, load_keys
from bundler.writing import press
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.converging import Output, files
from tests.unit.bundler.faults import Faults, injected, killed_at
from tests.unit.bundler.layouts import make_product

QUIET = Talk(quiet=True)
KIT = "board-v2.1.0"


class Bench(Output):
    """A product that is built again and again."""

    def __init__(self, root: Path, part_size: int | None = None) -> None:
        manifest = make_product(root)
        generate(root, "release", "word")
        super().__init__(root / "out", KIT, self.build)
        keys = (root / "release.key",)
        installer = manifest.parent / "install"
        self.request = Request("v2.1.0", root, keys=keys, installer=installer, output=self.folder, part_size=part_size)
        self.prove()
        self.kept = root / "kept"
        shutil.copytree(self.folder, self.kept)
        self.begin()

    def build(self) -> None:
        build(self.request, lambda _: "word", QUIET)

    def restore(self) -> None:
        """The same release has been built."""
        self.begin()
        shutil.copytree(self.kept, self.folder)


@pytest.fixture(scope="module", params=[None, 8192], ids=["one-file", "parts"])
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SEALIFT_KEY", "SEALIFT_PASSPHRASE", "SOURCE_DATE_EPOCH"):
            patch.delenv(name, raising=False)
        return Bench(tmp_path_factory.mktemp("bench"), request.param)


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch, bench: Bench) -> None:
    """Every frame is written by itself; and the key is unlocked once, which costs more than a build of this size."""
    keys = load_keys(bench.request.keys, lambda _: "word")
    monkeypatch.setattr(building, "open_signers", lambda *_: keys)
    monkeypatch.setattr(press, "_BATCH", 0)


def calls(bench: Bench) -> list[str]:
    with injected(Faults()) as counted:
        bench.build()
    return counted.calls


@pytest.mark.parametrize(
    ("error", "sticky", "prepare"),
    [
        pytest.param(errno.ENOSPC, False, Bench.begin, id="full-once-first"),
        pytest.param(errno.ENOSPC, False, Bench.restore, id="full-once-again"),
        pytest.param(errno.ENOSPC, True, Bench.begin, id="full-sticky-first"),
        pytest.param(errno.ENOSPC, True, Bench.restore, id="full-sticky-again"),
        pytest.param(errno.EIO, False, Bench.begin, id="broken-once-first"),
    ],
)
def test_a_call_that_fails_leaves_nothing_wrong(
    bench: Bench, error: int, sticky: bool, prepare: Callable[[Bench], None]
) -> None:
    prepare(bench)
    made = calls(bench)
    assert {"write", "create", "rename", "fsync", "mkdir"} <= set(made)
    assert made.count("write") > 30
    for number in range(1, len(made) + 1):
        prepare(bench)
        with injected(Faults(number, error, sticky)) as faults:
            try:
                bench.build()
            except OSError as caught:
                assert caught.errno == error
            else:
                assert not set(made[number - 1 : number]) & {"write", "fsync", "create"}, made[number - 1]
        assert faults.count >= number
        if prepare is Bench.restore and not sticky:
            assert (bench.folder / KIT).exists(), made[number - 1]
        bench.converges()


@pytest.mark.parametrize("prepare", [Bench.begin, Bench.restore], ids=["first", "again"])
def test_a_kill_at_any_call_leaves_nothing_wrong(bench: Bench, prepare: Callable[[Bench], None]) -> None:
    prepare(bench)
    for number in range(1, len(calls(bench)) + 1):
        prepare(bench)
        assert killed_at(number, bench.build)
        bench.converges()


def test_a_kit_that_a_killed_build_put_aside_still_counts(bench: Bench) -> None:
    bench.restore()
    (bench.folder / KIT).rename(bench.folder / f"{KIT}.old{PARTIAL}")
    notes = bench.request.root / "manifests/board/UPGRADE.md"
    before = notes.read_text()
    notes.write_text("another release\n")
    try:
        with pytest.raises(SealiftError) as caught:
            bench.build()
    finally:
        notes.write_text(before)
    assert caught.value.id == "output-exists"
    assert files(bench.folder / KIT) == bench.right
