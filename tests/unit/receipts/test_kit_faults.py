"""A disk that is full, and a kill, at every call of making a kit that changes the disk: it is whole, or not there."""

from __future__ import annotations

import errno
from collections.abc import Iterator

import pytest

from bundler.media.stock import Stock
from bundler.media.waykit import Wish, make_kit
from installer.bundle.receipt import read_receipt
from installer.patching.rebuild import Rebuilder
from tests import editions
from tests.unit.bundler.converging import Output
from tests.unit.bundler.faults import strikes
from tests.unit.bundler.test_delta_faults import recording
from tests.unit.receipts.forge import sealed
from tests.unit.trust.media import QUIET

BASE = editions.tree(61, files=4)
LAYERS = [editions.layer(editions.upgraded(BASE, seed)) for seed in (62, 63, 64)]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Output]:
    """Made again and again: two steps, in each of which a layer is patched."""
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
        wish = Wish("1.2.0", folder / "store", folder / "media")
        made = Output(wish.output, "p-v1.2.0-for-hall", lambda: make_kit(receipt, wish, QUIET))
        made.prove()
        yield made


def test_it_is_of_two_steps(kit: Output) -> None:
    assert {path.partition("/")[0] for path in kit.right} == {
        *("01-p-v1.1.0", "02-p-v1.2.0", "README.txt", "SHA256SUMS", "path.json")
    }


@pytest.mark.parametrize("sticky", [False, True], ids=["once", "sticky"])
def test_a_full_disk_at_any_call_leaves_nothing_wrong(kit: Output, sticky: bool) -> None:
    made = []
    for call in strikes(kit.begin, kit.run, errno.ENOSPC, sticky=sticky):
        made.append(call)
        kit.converges()
    assert {"write", "create", "nameless", "rename", "fsync", "mkdir", "unlink"} <= set(made) and len(made) > 60


def test_a_kill_at_any_call_leaves_nothing_wrong(kit: Output) -> None:
    made = []
    for call in strikes(kit.begin, kit.run, None):
        made.append(call)
        kit.converges()
    assert len(made) > 60
