"""Clocks that lie: what time it may be, and what no signed date can do."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from installer.trust.clock import (
    Clock,
    Floor,
    clock_of,
    date_findings,
    host_now,
    instant,
    raised,
    root_findings,
    spelled,
)
from tests.unit.permits.scenes import EXPIRES, NOW, clock, ids, release, root

Y1970, Y2038, Y2100 = (datetime(year, 1, 20, tzinfo=UTC) for year in (1970, 2038, 2100))
KNOWN = "2026-11-01T00:00:00Z"


@pytest.mark.parametrize(
    ("host", "now", "warned"),
    [
        (Y1970, instant(KNOWN), ["clock-behind"]),
        (NOW, NOW, []),
        (instant(KNOWN) - timedelta(hours=23), instant(KNOWN), []),
        (Y2038, Y2038, ["clock-ahead"]),
        (Y2100, Y2100, ["clock-ahead"]),
    ],
)
def test_judges_by_the_later_of_clock_and_floor_and_warns(host: datetime, now: datetime, warned: list[str]) -> None:
    here = clock(host, KNOWN)
    assert (here.now, ids(here.findings())) == (now, warned)


@pytest.mark.parametrize(
    ("host", "warned"), [(Y1970, []), (NOW, []), (Y2038, ["root-expired"]), (Y2100, ["root-expired"])]
)
def test_root_expires_by_that_time(host: datetime, warned: list[str]) -> None:
    assert ids(root_findings(root(), clock(host, KNOWN))) == warned


def test_warns_180_days_before_a_root_expires() -> None:
    policy = root()
    assert ids(root_findings(policy, Clock(EXPIRES - timedelta(days=181)))) == []
    assert ids(root_findings(policy, Clock(EXPIRES - timedelta(days=179)))) == ["root-expires-soon"]
    assert ids(root_findings(policy, Clock(EXPIRES))) == ["root-expired"]


def test_new_host_with_a_clock_of_1970_goes_by_the_release_it_verifies() -> None:
    here = clock(Y1970, release=release(created=KNOWN))
    assert here.now == instant(KNOWN) and ids(here.findings()) == ["clock-behind"]
    assert Clock(Y1970).findings() == ()


def test_committed_release_raises_the_floor_and_an_older_one_leaves_it() -> None:
    policy, first, later = root(), release(created=KNOWN), release("1.1.0", created="2027-03-01T00:00:00Z")
    floor = raised(None, first, policy)
    assert floor == Floor(at=KNOWN, epoch=1, release=str(first.digest))
    higher = raised(floor, later, policy)
    assert higher is not None and higher.at == later.created
    assert raised(higher, first, policy) == higher


def test_release_dated_2099_raises_nothing_and_is_named() -> None:
    policy, liar = root(), release(created="2099-01-01T00:00:00Z")
    floor = raised(None, release(created=KNOWN), policy)
    assert raised(floor, liar, policy) == floor and raised(None, liar, policy) is None
    assert clock_of(NOW, floor, policy, liar).now == NOW
    assert ids(date_findings(liar, policy)) == ["date-not-credible"]
    assert date_findings(release(created=KNOWN), policy) == ()


def test_no_signed_date_makes_the_root_that_vouches_for_it_expire() -> None:
    policy = root()
    last = release(created=spelled(EXPIRES - timedelta(seconds=1)))
    here = clock_of(NOW, raised(None, last, policy), policy)
    assert "root-expired" not in ids(root_findings(policy, here))


def test_longer_root_gives_a_date_from_before_no_more_weight() -> None:
    liar = release(created="2099-01-01T00:00:00Z")
    floor = raised(None, liar, root())
    assert clock_of(NOW, floor, root(expires=datetime(2150, 1, 1, tzinfo=UTC))).now == NOW


def test_new_epoch_resets_the_floor() -> None:
    lie = Floor(at="2035-06-01T00:00:00Z", epoch=1, release="sha256:" + "0" * 64)
    assert clock_of(NOW, lie, root()).now == instant(lie.at)
    assert clock_of(NOW, lie, root(epoch=2)).now == NOW
    honest = release(created=KNOWN)
    assert raised(lie, honest, root(epoch=2)) == Floor(at=KNOWN, epoch=2, release=str(honest.digest))


def test_root_that_expires_before_the_floor_voids_it() -> None:
    lie = Floor(at="2035-06-01T00:00:00Z", epoch=1, release="sha256:" + "0" * 64)
    assert clock_of(NOW, lie, root(expires=datetime(2030, 1, 1, tzinfo=UTC))).now == NOW


def test_times_are_in_utc_and_spelled_to_the_second() -> None:
    assert spelled(NOW) == "2026-11-21T12:00:00Z" and instant(spelled(NOW)) == NOW
    assert host_now().tzinfo is UTC
