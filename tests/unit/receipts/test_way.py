"""The way from what a site runs to a release: the shortest that its rules allow, or a refusal that names the gap."""

from __future__ import annotations

from typing import Any

import pytest
import semver
from hypothesis import given
from hypothesis import strategies as st

from bundler.media.way import Hop, Start, allowed, find_way
from installer.errors import SealiftError
from tests.unit.permits.scenes import release
from tests.unit.receipts.forge import parsed

PLATFORM = release().platform


def start(version: str | None, program: str = "1.0.0", **more: Any) -> Start:
    return Start(version, PLATFORM, "stable", program, **more)


def hop(
    version: str, over: str | None = None, sealift: str | None = None, brings: str | None = None, **more: Any
) -> Hop:
    return Hop(release(version, requires={"upgrade_from": over, "installer": sealift}, **more), brings)


def way(begin: Start, target: Hop, *others: Hop) -> list[str]:
    return [one.version for one in find_way(begin, target, [target, *others])]


def refused(begin: Start, target: Hop, *others: Hop) -> str:
    with pytest.raises(SealiftError) as caught:
        find_way(begin, target, [target, *others])
    assert caught.value.id == "kit-no-path" and caught.value.hint
    return caught.value.message


def test_goes_straight_where_the_release_allows_it() -> None:
    assert way(start("1.0.0"), hop("3.0.0", ">=1.0"), hop("2.0.0")) == ["3.0.0"]
    assert way(start("1.0.0"), hop("3.0.0"), hop("2.0.0")) == ["3.0.0"]


def test_takes_the_fewest_steps_and_of_those_the_newest_releases() -> None:
    between = (hop("1.5.0"), hop("2.0.0", ">=1.5"), hop("2.1.0", ">=1.5"), hop("2.1.1", ">=1.5"), hop("1.4.0"))
    assert way(start("1.0.0"), hop("3.0.0", ">=2.0"), *between) == ["1.5.0", "2.1.1", "3.0.0"]


def test_a_site_that_runs_nothing_needs_no_step_between() -> None:
    assert way(start(None), hop("3.0.0", ">=2.0"), hop("2.0.0")) == ["3.0.0"]


def test_a_release_that_brings_the_sealift_that_is_needed_is_a_step() -> None:
    target = hop("3.0.0", ">=1.0", sealift=">=2.0")
    assert way(start("1.0.0"), target, hop("2.0.0", brings="2.0.0"), hop("2.5.0")) == ["2.0.0", "3.0.0"]
    assert way(start("1.0.0"), hop("3.0.0", sealift=">=2.0", brings="2.1.0"), hop("2.0.0")) == ["3.0.0"]
    assert way(start("1.0.0", program="2.0.0"), target, hop("2.0.0", brings="2.0.0")) == ["3.0.0"]


def test_names_what_is_missing_between() -> None:
    said = refused(start("1.0.0"), hop("3.0.0", ">=2.5"), hop("1.5.0"), hop("2.0.0", ">=1.5"))
    assert "from 1.0.0 to 3.0.0" in said and ">=2.5" in said and "furthest that can be reached is 2.0.0" in said
    said = refused(start("1.0.0"), hop("3.0.0", sealift=">=2.0"), hop("2.0.0"))
    assert "needs sealift >=2.0, where 1.0.0 is the newest" in said


@pytest.mark.parametrize(
    ("target", "begin", "said"),
    [
        (hop("3.0.0", channel="candidate"), start("1.0.0"), "channel candidate"),
        (hop("3.0.0", platform="linux/arm64"), start("1.0.0"), "linux/arm64"),
        (hop("1.0.0"), start("1.0.0"), "not newer than 1.0.0"),
        (hop("0.9.0"), start("1.0.0"), "sealift rollback"),
        (hop("1.5.0"), start("1.0.0", mark="2.0.0", mark_digest="sha256:" + "0" * 64), "permit"),
        (hop("2.0.0"), start("1.0.0", mark="2.0.0", mark_digest="sha256:" + "0" * 64), "permit"),
    ],
)
def test_refuses_what_can_never_come_in_there(target: Hop, begin: Start, said: str) -> None:
    assert said in refused(begin, target)


def test_steps_below_the_mark_and_of_other_channels_are_none() -> None:
    others = (hop("1.5.0"), hop("1.6.0", channel="candidate"))
    marked = start("1.0.0", mark="1.8.0", mark_digest="sha256:" + "0" * 64)
    assert ">=1.5" in refused(marked, hop("2.0.0", ">=1.5"), *others)
    assert way(start("1.0.0"), hop("2.0.0", ">=1.5"), *others) == ["1.5.0", "2.0.0"]


def test_starts_where_the_receipt_says() -> None:
    receipt = parsed()
    begin = Start.of(receipt, "board")
    assert (begin.version, begin.platform, begin.channel, begin.program) == ("1.1.0", "linux/amd64", "stable", "0.1.0")
    assert begin.mark == "1.1.0" and Start.of(receipt, "lunch").version is None
    newer = parsed(trust={**receipt.trust.model_dump(), "epoch": 2})
    assert Start.of(newer, "board").mark is None  # an earlier epoch binds nothing any more


VERSIONS = [f"{major}.{minor}.0" for major in (1, 2, 3) for minor in range(4)]
RANGES = st.sampled_from([None, ">=1.0", ">=1.2,<2.0", ">=2.0", ">=2.2", "==1.3", "<2.0"])


@given(st.dictionaries(st.sampled_from(VERSIONS), RANGES, min_size=1), st.sampled_from(VERSIONS))
def test_every_step_of_a_way_is_allowed_and_no_way_is_shorter(known: dict[str, str | None], begin: str) -> None:
    hops = [hop(version, over) for version, over in known.items()]
    target = hops[0]
    fewest = _fewest(begin, target, hops)
    try:
        found = find_way(start(begin), target, hops)
    except SealiftError as error:
        assert error.id == "kit-no-path" and fewest is None
        return
    versions = [begin, *(one.version for one in found)]
    assert all(allowed(before, "1.0.0", one) for before, one in zip(versions, found, strict=False))
    assert found[-1] is target and len(found) == fewest
    assert versions == sorted(versions, key=semver.Version.parse)


def _fewest(begin: str, target: Hop, hops: list[Hop]) -> int | None:
    """By trying everything, backwards."""
    reach, steps = {target.version}, 1
    while reach:
        if any(allowed(begin, "1.0.0", one) for one in hops if one.version in reach):
            return steps
        reach = {
            one.version
            for one in hops
            if any(allowed(one.version, "1.0.0", after) for after in hops if after.version in reach)
        }
        steps += 1
        if steps > len(hops) + 1:
            return None
    return None
