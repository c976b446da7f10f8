"""A disk that is full, and a kill, at every call of making a kit that changes the disk: it is whole, or not there."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bundler.media.stock import Stock
from bundler.media.waykit import Wish, make_kit
from installer.bundle.receipt import SignedReceipt, read_receipt
from installer.patching.rebuild import Rebuilder
from tests import editions
from tests.unit.bundler.faults import strikes
from tests.unit.bundler.test_delta_faults import recording
from tests.unit.receipts.forge import sealed
from tests.unit.trust.media import QUIET

BASE = editions.tree(61, files=4)
LAYERS = [editions.layer(editions.upgraded(BASE, seed)) for seed in (62, 63, 64)]


@dataclass
class Bench:
    """Makes one kit again and again: two steps, in each of which a layer is patched."""

    folder: Path
    receipt: SignedReceipt
    right: dict[str, bytes] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.folder / "media"

    @property
    def kit(self) -> Path:
        return self.out / "p-v1.2.0-for-hall"

    def begin(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)

    def run(self) -> None:
        make_kit(self.receipt, Wish("1.2.0", self.folder / "store", self.out), QUIET)

    def content(self) -> dict[str, bytes]:
        return {str(path.relative_to(self.kit)): path.read_bytes() for path in self.kit.rglob("*") if path.is_file()}

    def converges(self) -> None:
        if not self.out.exists() or not any(self.out.iterdir()):
            return  # as it was in the beginning, from where it has just been seen to end well
        if self.kit.exists():
            assert self.content() == self.right
        self.run()
        assert self.content() == self.right
        assert list(self.out.iterdir()) == [self.kit]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    folder = tmp_path_factory.mktemp("bench")
    for number, layer in enumerate(LAYERS):
        over = {"upgrade_from": f">=1.{number - 1}.0"} if number else {}
        forge = editions.edition(f"1.{number}.0", {"web": [layer]}, requires=over)
        editions.write(forge, folder / f"store/{number}")
    stock = Stock.read(folder / "store", print)
    old = next(one for one in stock.releases if one.release.version == "1.0.0")
    name = {"version": "1.0.0", "digest": str(old.digest)}
    product = {"product": "p", "current": name, "previous": None, "kept": [name], "mark": name | {"epoch": 1}}
    held = tuple(member.digest for _, member in old.release.members())
    receipt = read_receipt(sealed(products=[product], held=held), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rebuilder, "rebuild", recording())
        made = Bench(folder, receipt)
        made.run()
        made.right = made.content()
        yield made


def test_it_is_of_two_steps(bench: Bench) -> None:
    assert {path.partition("/")[0] for path in bench.right} == {
        *("01-p-v1.1.0", "02-p-v1.2.0", "README.txt", "SHA256SUMS", "path.json")
    }


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_full_disk_at_any_call_leaves_nothing_wrong(bench: Bench, sticky: bool) -> None:
    made = []
    for call in strikes(bench.begin, bench.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        bench.converges()
    assert {"write", "create", "nameless", "rename", "fsync", "mkdir", "unlink"} <= set(made) and len(made) > 60


def test_a_kill_at_any_call_leaves_nothing_wrong(bench: Bench) -> None:
    made = []
    for call in strikes(bench.begin, bench.run, None):
        made.append(call)
        bench.converges()
    assert len(made) > 60
