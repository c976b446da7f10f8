"""The version, its changelog section and git: each disagreement is an error with the fix in it."""

from __future__ import annotations

import pytest

from bundler.build import created_at
from bundler.manifest.changelog import section_for, sections
from bundler.manifest.version import Checkout, Version, check_version
from installer.errors import SealiftError

LOG = """# Changelog
## [Unreleased]
- next
## [2.1.0] - 2026-11-03
### Added
- Search.
## v2.0.0 (2026-10-01)
- First.
## [1.9.0]
## [1.8.0]
- Old.
"""


def refused(version: str, checkout: Checkout | None, product: str = "chat", **environment: str) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        check_version(Version.parse(version), product, checkout, environment)
    assert caught.value.id == "version-mismatch"
    return caught.value


def accepted(version: str, checkout: Checkout | None, product: str = "chat", **environment: str) -> None:
    check_version(Version.parse(version), product, checkout, environment)


@pytest.mark.parametrize(
    "text", ["2.1", "v2", "latest", "", "v2.1.0+build", "v02.1.0", "2.1.0 ", "2.1.0\n", "../2.1.0"]
)
def test_refuses_what_is_no_version(text: str) -> None:
    with pytest.raises(SealiftError) as caught:
        Version.parse(text)
    assert caught.value.id == "version-invalid"


def test_version_with_and_without_v_is_the_same() -> None:
    assert Version.parse("v2.1.0") == Version.parse("2.1.0")


def test_candidate_goes_to_its_own_channel() -> None:
    assert Version.parse("v2.1.0-rc.1").channel("stable") == "candidate"
    assert Version.parse("v2.1.0").channel("stable") == "stable"


def test_refuses_a_version_without_changelog_section() -> None:
    with pytest.raises(SealiftError) as caught:
        section_for(Version.parse("2.2.0"), LOG, "CHANGELOG.md")
    assert caught.value.id == "changelog-section-missing"
    assert "## [2.2.0]" in caught.value.hint


def test_refuses_an_empty_changelog_section() -> None:
    with pytest.raises(SealiftError) as caught:
        section_for(Version.parse("1.9.0"), LOG, "CHANGELOG.md")
    assert "empty" in caught.value.message


def test_section_ends_where_the_next_begins() -> None:
    section = section_for(Version.parse("2.1.0"), LOG, "CHANGELOG.md")
    assert (section.text, section.date) == ("### Added\n- Search.", "2026-11-03")
    assert [one.version for one in sections(LOG)] == ["Unreleased", "2.1.0", "2.0.0", "1.9.0", "1.8.0"]


def test_candidate_uses_the_section_of_its_final_version_or_unreleased() -> None:
    assert section_for(Version.parse("2.1.0-rc.1"), LOG, "c").version == "2.1.0"
    assert section_for(Version.parse("3.0.0-rc.1"), LOG, "c").version == "Unreleased"


def test_final_version_never_uses_unreleased() -> None:
    with pytest.raises(SealiftError):
        section_for(Version.parse("3.0.0"), LOG, "c")


def test_refuses_another_version_on_a_release_branch() -> None:
    for branch in ("releases/v2.1.0", "hotfixes/v2.1.1"):
        error = refused("2.2.0", Checkout(branch, (), 0))
        assert f"bundle build {branch.partition('/')[2]}" in error.hint


def test_candidate_fits_the_branch_of_its_final_version() -> None:
    accepted("2.1.0-rc.1", Checkout("releases/v2.1.0", (), 0))


def test_any_version_fits_an_ordinary_branch() -> None:
    accepted("2.1.0", Checkout("main", (), 0))
    accepted("2.1.0", None)


def test_refuses_another_version_on_a_tagged_commit() -> None:
    error = refused("2.2.0", Checkout("main", ("v2.1.0", "nightly"), 0))
    assert "v2.1.0" in error.hint
    accepted("2.1.0", Checkout("main", ("v2.1.0-rc.3", "v2.1.0"), 0))


def test_tag_of_a_product_counts_for_that_product_alone() -> None:
    refused("2.2.0", Checkout(None, ("chat-v2.1.0",), 0))
    refused("2.2.0", Checkout(None, ("chat/v2.1.0",), 0))
    accepted("2.2.0", Checkout(None, ("other-v2.1.0",), 0))


@pytest.mark.parametrize("name", ["GITHUB_HEAD_REF", "GITHUB_REF_NAME", "CI_COMMIT_REF_NAME", "BRANCH_NAME"])
def test_detached_head_takes_the_branch_that_ci_names(name: str) -> None:
    environment = {name: "releases/v2.1.0"}
    refused("2.2.0", Checkout(None, (), 0), **environment)
    accepted("2.2.0", Checkout("main", (), 0), **environment)


def test_time_comes_from_the_epoch_then_the_commit_then_the_changelog_never_the_clock() -> None:
    dated, undated = (section_for(Version.parse(text), LOG, "c") for text in ("2.1.0", "1.8.0"))
    commit = Checkout("main", (), 1_700_000_000)
    assert created_at({"SOURCE_DATE_EPOCH": "0"}, commit, dated) == "1970-01-01T00:00:00Z"
    assert created_at({}, commit, dated) == "2023-11-14T22:13:20Z"
    assert created_at({}, None, dated) == "2026-11-03T00:00:00Z"
    with pytest.raises(SealiftError) as caught:
        created_at({}, None, undated)
    assert "SOURCE_DATE_EPOCH" in caught.value.hint


def test_refuses_an_epoch_that_is_no_number() -> None:
    with pytest.raises(SealiftError):
        created_at({"SOURCE_DATE_EPOCH": "yesterday"}, None, section_for(Version.parse("2.1.0"), LOG, "c"))
