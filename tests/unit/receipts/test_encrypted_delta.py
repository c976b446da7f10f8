"""A delta for the site of a receipt, encrypted to that site: it is installed like any other, and by nobody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.delta.since import holdings_of, open_receipt
from bundler.media.encrypt import Cover
from bundler.media.pack import Packed, pack
from bundler.media.stock import Stock
from installer.errors import SealiftError
from installer.report import Outcome
from installer.trust.mediakey import new_key
from tests.unit.receipts.house import QUIET, House

SECRETS = (b"2.0.0", b"release.json", b"web", b"signatures")


@pytest.fixture
def house(tmp_path: Path) -> House:
    """1.2.0 serves."""
    return House.settle(tmp_path / "house", "1.0.0", "1.1.0", "1.2.0")


def delta_for(house: House, recipient: str) -> Packed:
    receipt = open_receipt(house.receipt(), None, QUIET).receipt
    held = holdings_of(receipt, Stock.read(house.store, print))
    cover = Cover([recipient])
    made = pack(house.store / "board-v2.0.0", house.folder / "media", None, QUIET, [held], cover)
    assert made.delta is not None and made.delta.absent
    return made


def test_it_shows_nothing_and_is_installed_with_the_key_of_the_host(house: House) -> None:
    made = delta_for(house, new_key(house.state).recipient)
    data = b"".join(path.read_bytes() for path in made.kit.glob("*.age*"))
    assert not [word for word in SECRETS if word in data]
    whole = (house.store / "board-v2.0.0/board-2.0.0-linux-amd64.bundle.tar.zst").stat().st_size
    assert made.size < whole
    ended = house.install(made.kit)
    assert isinstance(ended, Outcome) and (ended.result, house.serving()) == ("installed", "2.0.0")
    again = house.install(made.kit)
    assert isinstance(again, Outcome) and again.result == "unchanged"


def test_without_its_key_nothing_is_done(house: House, tmp_path: Path) -> None:
    other = House(tmp_path / "other")
    (other.state).mkdir(parents=True)
    made = delta_for(house, new_key(other.state).recipient)
    with pytest.raises(SealiftError) as caught:
        house.install(made.kit)
    assert (caught.value.id, caught.value.exit_code) == ("media-encrypted", 7)
    new_key(house.state)
    with pytest.raises(SealiftError) as caught:
        house.install(made.kit)
    assert caught.value.id == "media-key-wrong" and house.serving() == "1.2.0"


def test_a_site_that_lacks_what_it_builds_on_says_so_though_it_can_open_it(house: House, tmp_path: Path) -> None:
    other = House.settle(tmp_path / "mill", "1.0.0")
    made = delta_for(house, new_key(other.state).recipient)
    with pytest.raises(SealiftError) as caught:
        other.install(made.kit)
    assert caught.value.exit_code in (4, 6) and other.serving() == "1.0.0"
