"""A disk that is full, and a kill, at every call of a cut or a repair that changes the disk.

Whatever happens, what stands under a final name is right, or as damaged as it was; the next run ends well.
"""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.media.pack import pack
from bundler.repair.verb import repair
from installer.bundle.archive import locate_bundle
from tests.unit.bundler.faults import Faults, injected, killed_at
from tests.unit.trust.media import QUIET, make_kit

PART = 3000


class Bench:
    """Something that is done again and again, from the same beginning."""

    def __init__(self, root: Path) -> None:
        self.kit = make_kit(root, "release")
        self.right = locate_bundle(self.kit).read_bytes()
        self.whole = pack(self.kit, root / "whole", PART, QUIET).kit
        self.files = content(self.whole)
        self.damaged, self.other, self.out = root / "damaged", root / "other", root / "cut"
        shutil.copytree(self.whole, self.damaged)
        shutil.copytree(self.whole, self.other)
        names = sorted(path.name for path in self.whole.glob("*.bundle.tar.zst.*"))
        (self.damaged / names[0]).write_bytes(self.files[names[0]][:1000])
        (self.damaged / names[1]).unlink()
        (self.damaged / "SHA256SUMS").write_text("scratched\n")
        (self.damaged / "install").unlink()
        (self.other / names[-1]).unlink()
        self.work = root / "work"

    def begin(self) -> None:
        """The damaged copy, as it was; nothing cut."""
        for folder in (self.work, self.out):
            shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(self.damaged, self.work)

    def repair(self) -> None:
        repair(self.work, self.other, None, QUIET)

    def repaired(self) -> None:
        """Every file is right or as it was; the next run ends well and leaves nothing behind."""
        damaged = content(self.damaged)
        for name, data in content(self.work).items():
            if ".repair.partial/" not in name:
                assert data in (self.files.get(name), damaged.get(name)), name
        self.repair()
        assert content(self.work) == self.files

    def cut(self) -> None:
        pack(self.kit, self.out, PART, QUIET)

    def packed(self) -> None:
        """There is no kit, or the right one; the next run ends well and leaves nothing behind."""
        made = self.out / self.kit.name
        assert not made.exists() or content(made) == self.files
        self.cut()
        assert content(made) == self.files and list(self.out.iterdir()) == [made]


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
@pytest.mark.parametrize(
    ("run", "after"), [(Bench.repair, Bench.repaired), (Bench.cut, Bench.packed)], ids=["repair", "pack"]
)
def test_a_full_disk_leaves_nothing_wrong(
    bench: Bench, run: Callable[[Bench], None], after: Callable[[Bench], None], sticky: bool
) -> None:
    bench.begin()
    with injected(Faults()) as counted:
        run(bench)
    assert {"write", "create", "rename", "fsync", "mkdir"} <= set(counted.calls)
    for number in range(1, len(counted.calls) + 1):
        bench.begin()
        with injected(Faults(number, errno.ENOSPC, sticky)) as faults:
            try:
                run(bench)
            except OSError as caught:
                assert caught.errno == errno.ENOSPC
        assert faults.count >= number
        after(bench)


@pytest.mark.parametrize(
    ("run", "after"), [(Bench.repair, Bench.repaired), (Bench.cut, Bench.packed)], ids=["repair", "pack"]
)
def test_a_kill_leaves_nothing_wrong(
    bench: Bench, run: Callable[[Bench], None], after: Callable[[Bench], None]
) -> None:
    bench.begin()
    with injected(Faults()) as counted:
        run(bench)
    for number in range(1, len(counted.calls) + 1):
        bench.begin()
        assert killed_at(number, lambda: run(bench))
        after(bench)
