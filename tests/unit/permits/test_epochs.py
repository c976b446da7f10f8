"""A stolen release key locks nobody out: the root's holders undo a release 999.0.0, and a date in 2035."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bundler.signing.countersign import countersign, read_subject
from bundler.trust.permit import sign_permit
from installer.errors import SealiftError
from installer.look.doctor import Visit, examine
from installer.state.state import load_state, save_state
from installer.trust.clock import Floor, clock_of, instant
from installer.trust.entrance import clock_here
from installer.trust.store import load_policy, update
from tests.contract.driver import file_host
from tests.unit.permits.places import QUIET, Place
from tests.unit.permits.scenes import NOW
from tests.unit.trust.keys import key
from tests.unit.trust.roots import held, root


def refusal(place: Place, version: str, permit: Path | None = None) -> str:
    """The id of how it refuses to install that version."""
    with pytest.raises(SealiftError) as caught:
        place.install(version, permit)
    return caught.value.id


def next_root(place: Place, *release: str, epoch: int = 1, permit: str = "") -> None:
    """The holders' next root arrives."""
    version = load_policy(place.state).root_version + 1
    may: dict[str, Any] = {"permit": held(permit)} if permit else {}
    update(place.state, {version: root(version, *release, product="*", epoch=epoch, **may)})


def by(place: Place, version: str, name: str) -> None:
    """Media of that version which ``name`` has signed too."""
    countersign(read_subject(place.vendor.kit(version)), key(name))


def test_root_of_a_new_epoch_undoes_a_fast_forward_and_its_own_mark_binds(base: Place) -> None:
    base.install("999.0.0")
    assert refusal(base, "1.2.0") == "downgrade"
    next_root(base, "release", epoch=1)
    assert refusal(base, "1.2.0") == "downgrade", "a newer root alone undoes nothing"
    next_root(base, "release", epoch=2)
    assert base.install("1.2.0").result == "installed" and base.served() == {"1.2.0"}
    assert refusal(base, "1.1.0") == "downgrade"
    state = load_state(base.state)
    mark = state.products["board"].marks.product
    assert mark is not None and (mark.epoch, mark.version) == (2, "1.2.0")
    assert state.floor is not None and state.floor.epoch == 2


def test_release_by_a_stolen_key_is_replaced_by_one_that_the_new_key_has_signed(base: Place) -> None:
    base.install("999.0.0")
    by(base, "1.3.0", "r2")
    next_root(base, "r2", epoch=2)
    assert base.install("1.3.0").result == "installed" and base.served() == {"1.3.0"}
    assert refusal(base, "999.0.0") != "downgrade", "who stole the key signs nothing more that counts"
    assert base.served() == {"1.3.0"}


def test_root_of_a_lower_epoch_than_the_marks_is_refused(base: Place) -> None:
    trust = base.state / "trust"
    before = base.state.parent / "older-trust"
    shutil.copytree(trust, before)
    next_root(base, "release", epoch=2)
    base.install("1.2.0")
    shutil.rmtree(trust)
    shutil.copytree(before, trust)
    assert refusal(base, "1.3.0") == "trust-went-back"


def test_new_epoch_resets_a_floor_that_a_lying_date_has_raised(base: Place) -> None:
    lie = Floor(at="2035-06-01T00:00:00Z", epoch=1, release="sha256:" + "0" * 64)
    save_state(base.state, load_state(base.state).model_copy(update={"floor": lie}))
    assert clock_here(base.state, load_policy(base.state)).now.year == 2035
    next_root(base, "release", epoch=2)
    policy = load_policy(base.state)
    assert clock_of(NOW, lie, policy).now == NOW
    base.install("1.2.0")
    floor = load_state(base.state).floor
    assert floor is not None and (floor.epoch, floor.at < "2030") == (2, True)


def test_officer_whom_a_new_root_leaves_out_permits_nothing_more(base: Place) -> None:
    next_root(base, "release", permit="officer")
    permit = base.permit("1.0.0", "officer")
    next_root(base, "release", permit="second")
    before = base.says()
    assert refusal(base, "1.0.0", permit) == "key-revoked"
    assert refusal(base, "1.0.0", again(permit, "release")) == "permit-role"
    assert base.says() == before
    assert base.install("1.0.0", again(permit, "second")).result == "installed"


def test_date_of_a_permit_raises_nothing(base: Place) -> None:
    permit = base.permit("1.0.0")
    base.install("1.0.0", permit)
    floor = load_state(base.state).floor
    dates = {release["created"] for release in kept(base)}
    assert floor is not None and floor.at == max(dates)
    assert instant(json.loads(permit.read_bytes())["expires"]) > instant(floor.at)


def test_doctor_says_what_a_new_root_no_longer_vouches_for_and_stops_nothing(base: Place) -> None:
    next_root(base, "r2", epoch=2)
    visit = Visit(base.state, base.state.parent / "site.yaml", QUIET, file_host)
    found = {item.id: item.level for item in examine(visit)}
    assert found["kept-release-untrusted"] == "warn" and found["no-way-back"] == "warn"
    assert "stop" not in found.values()


def again(permit: Path, signer: str) -> Path:
    """The permit, signed by somebody else."""
    for path in permit.parent.glob(f"{permit.name}.*.sigstore.json"):
        path.unlink()
    sign_permit(permit, [key(signer)])
    return permit


def kept(place: Place) -> list[dict[str, str]]:
    """The statements of the releases that the site keeps."""
    return [json.loads(path.read_bytes()) for path in (place.state / "releases").glob("*/*/release.json")]
