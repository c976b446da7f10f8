"""A key is revoked while what it signed serves: the host goes on, upwards and down; back only with new signatures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundler.signing.countersign import countersign, read_subject
from installer.bundle.digest import Digest
from installer.errors import ExitCode, SealiftError
from installer.removal import remove
from installer.report import Outcome
from installer.state.state import load_state
from installer.talk import Talk
from installer.trust.store import load_policy, provision, update
from installer.upgrade import Request, rollback, upgrade
from tests.contract.driver import file_host
from tests.contract.editions import Vendor
from tests.contract.program import settle
from tests.unit.trust.keys import key
from tests.unit.trust.roots import root

QUIET = Talk(quiet=True)
FIRST = root(1, "r1", product="board")
SECOND = root(2, "r2", product="board", epoch=2)


@pytest.fixture(scope="module")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Vendor:
    folder = tmp_path_factory.mktemp("vendor")
    (folder / "2.root.json").write_bytes(SECOND)
    return Vendor(folder)


@pytest.fixture
def state(tmp_path: Path, vendor: Vendor) -> Path:
    """A host where 1.0.0 and then 1.1.0 were installed, both signed by the key r1."""
    place = settle(tmp_path)
    (tmp_path / "root.json").write_bytes(FIRST)
    provision(place, tmp_path / "root.json", str(Digest.of(FIRST)))
    for version in ("1.0.0", "1.1.0"):
        assert install(place, vendor.kit(version, signer="r1")).result == "installed"
    return place


def install(state: Path, media: Path, *, dry_run: bool = False) -> Outcome:
    return upgrade(Request(state, state.parent / "site.yaml", media, dry_run=dry_run), QUIET, lambda _: True, file_host)


def back(state: Path) -> Outcome:
    site = state.parent / "site.yaml"
    return rollback(state, site, QUIET, to=None, product=None, dry_run=False, connect=file_host)


def serving(state: Path) -> str | None:
    current = load_state(state).products["board"].current
    return current.version if current else None


def refusal(do: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        do()
    return caught.value


def newer(vendor: Vendor) -> Path:
    """1.2.0, signed by the new key, with the root that names it."""
    return vendor.kit("1.2.0", signer="r2", roots=(vendor.folder / "2.root.json",))


def test_media_bring_the_new_root_and_the_upgrade_over_a_revoked_release_goes_on(state: Path, vendor: Vendor) -> None:
    assert install(state, newer(vendor)).result == "installed"
    assert (serving(state), load_policy(state).root_version, load_policy(state).epoch) == ("1.2.0", 2, 2)
    mark = load_state(state).products["board"].marks.product
    assert mark is not None and mark.epoch == 2


def test_dry_run_walks_in_memory_alone(state: Path, vendor: Vendor) -> None:
    assert install(state, newer(vendor), dry_run=True).result == "planned"
    assert load_policy(state).root_version == 1 and not (state / "trust/roots/2.root.json").exists()


def test_refused_release_brings_no_root(state: Path, vendor: Vendor) -> None:
    media = vendor.kit("0.9.0", signer="r2", roots=(vendor.folder / "2.root.json",))
    (state.parent / "site.yaml").write_text((state.parent / "site.yaml").read_text().replace("stable", "lts"))
    assert refusal(lambda: install(state, media)).id == "wrong-channel"
    assert load_policy(state).root_version == 1


def test_release_of_the_revoked_key_is_refused_from_then_on(state: Path, vendor: Vendor) -> None:
    update(state, {2: SECOND})
    error = refusal(lambda: install(state, vendor.kit("1.3.0", signer="r1")))
    assert (error.id, error.exit_code) == ("key-revoked", ExitCode.UNTRUSTED)
    assert serving(state) == "1.1.0"


def test_serving_release_of_a_revoked_key_can_be_taken_off(state: Path) -> None:
    update(state, {2: SECOND})
    remove(state, state.parent / "site.yaml", QUIET, "board", volumes=True, connect=file_host)
    assert "board" not in load_state(state).products


def test_going_back_to_a_release_of_a_revoked_key_is_refused_with_the_way_out(state: Path, vendor: Vendor) -> None:
    install(state, newer(vendor))
    error = refusal(lambda: back(state))
    assert (error.id, error.exit_code) == ("kept-release-untrusted", ExitCode.UNTRUSTED)
    assert "key-revoked" in error.message and "sign 1.1.0 again" in error.hint
    assert serving(state) == "1.2.0"


def test_going_back_works_once_the_release_is_signed_again(state: Path, vendor: Vendor, tmp_path: Path) -> None:
    """Its media are older than what serves, so they are refused; but the kept release has taken the signature."""
    import shutil

    install(state, newer(vendor))
    media = tmp_path / "signed-again"
    shutil.copytree(vendor.kit("1.1.0", signer="r1"), media)
    assert refusal(lambda: install(state, media)).id == "key-revoked"
    countersign(read_subject(media), key("r2"))
    error = refusal(lambda: install(state, media))
    assert error.id == "downgrade" and "sealift rollback --to 1.1.0" in error.hint
    assert back(state).result == "rolled-back"
    assert serving(state) == "1.1.0"


def test_damaged_release_that_serves_is_not_taken_for_what_was_committed(state: Path) -> None:
    update(state, {2: SECOND})
    (place,) = (state / "releases/board").glob("1.1.0-*")
    (place / "release.json").write_bytes((place / "release.json").read_bytes().replace(b"1.1.0", b"1.1.1"))
    site = state.parent / "site.yaml"
    error = refusal(lambda: remove(state, site, QUIET, "board", volumes=True, connect=file_host))
    assert error.id == "kept-release-damaged"
