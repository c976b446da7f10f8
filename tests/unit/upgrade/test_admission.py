"""What may come in from media, and which kept releases go."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.release import Release
from installer.bundle.strictjson import canonical
from installer.errors import ExitCode, SealiftError
from installer.site.site import Site
from installer.state.releases import surplus
from installer.state.state import ProductState, ReleaseRef
from installer.trust.admission import Here, admit, refuse_program, within
from installer.trust.marks import Mark, Marks
from tests.vectors.forge import Forge


def release(**changes: Any) -> Release:
    return Release.parse(canonical({**Forge().value, **changes}))


def ran(version: str, digest: str = "sha256:" + "1" * 64) -> ProductState:
    ref = ReleaseRef(product="p", version=version, digest=digest)
    mark = Mark(version=version, digest=digest)
    marks = Marks(product=mark, channels={"stable": mark})
    return ProductState(product="p", channel="stable", index=0, current=ref, marks=marks, active="blue")


HERE = Here("x86_64")
NEVER = ProductState(product="p", channel="stable", index=0)


def refused(incoming: Release, product: ProductState, site: Site | None = None, machine: str = "x86_64") -> str:
    with pytest.raises(SealiftError) as caught:
        admit(incoming, product, site or Site(site="here"), Here(machine))
        refuse_program(incoming, "0.1.0")
    assert caught.value.exit_code is ExitCode.INCOMPATIBLE
    assert caught.value.hint
    return caught.value.id


def test_admits_a_first_release_and_a_newer_one() -> None:
    for product in (NEVER, ran("0.9.0"), ran("1.0.0-rc.1")):
        admit(release(), product, Site(site="here"), HERE)


def test_refuses_an_older_release_than_one_that_ran() -> None:
    assert refused(release(), ran("1.0.1")) == "downgrade"


def test_refuses_the_same_version_with_other_content() -> None:
    assert refused(release(), ran("1.0.0")) == "same-version-other-digest"


def test_admits_the_very_release_that_ran_for_it_may_have_been_taken_off() -> None:
    incoming = release()
    admit(incoming, ran("1.0.0", str(incoming.digest)), Site(site="here"), HERE)


def test_refuses_another_platform_channel_path_and_program() -> None:
    assert refused(release(), NEVER, machine="aarch64") == "wrong-platform"
    assert refused(release(), NEVER, Site(site="here", channel="candidate")) == "wrong-channel"
    wants = {"requires": {"upgrade_from": ">=0.9", "installer": None}}
    assert refused(release(**wants), ran("0.8.7")) == "upgrade-path"
    assert refused(release(requires={"upgrade_from": None, "installer": ">=0.2"}), NEVER) == "installer-too-old"


@pytest.mark.parametrize(
    ("version", "wanted", "holds"),
    [
        ("1.8.0", ">=1.8", True),
        ("1.8.0-rc.1", ">=1.8", False),
        ("3.0.0", ">=1.8,<3", False),
        ("2.9.9", ">=1.8,<3", True),
        ("1.0.0", "!=1.0.0", False),
        ("1.0.0", "==1", True),
    ],
)
def test_ranges_mean_what_people_read(version: str, wanted: str, holds: bool) -> None:
    assert within(version, wanted) is holds


@given(count=st.integers(0, 8), keep=st.integers(1, 5), data=st.data())
def test_pruning_never_takes_what_is_needed_and_takes_the_oldest_first(
    count: int, keep: int, data: st.DataObject
) -> None:
    kept = [ReleaseRef(product="p", version=f"1.{number}.0", digest="sha256:" + "0" * 64) for number in range(count)]
    needed = data.draw(st.lists(st.sampled_from(kept), max_size=3)) if kept else []
    gone = surplus(kept, needed, keep)
    assert not set(gone) & set(needed)
    assert list(gone) == [ref for ref in kept if ref in gone]
    left = [ref for ref in kept if ref not in gone]
    assert len(left) <= keep or set(left) <= set(needed)
