"""Which of two version labels is higher: what decides whether front door and registry are replaced."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.ownimages import newer

RISING = ("1.9", "2.6.2", "2.6.12-rc1", "2.6.12", "2.6.12-1+deb12u2", "2.6.12-1+deb12u10", "2.8", "10.0")


@pytest.mark.parametrize(("lower", "higher"), list(itertools.pairwise(RISING)))
def test_knows_the_higher_of_two(lower: str, higher: str) -> None:
    assert newer(higher, lower)
    assert not newer(lower, higher)


@given(st.text(max_size=20))
def test_nothing_is_newer_than_itself_or_than_the_unknown(text: str) -> None:
    assert not newer(text, text)
    assert not newer(text, "")
    assert not newer("", text)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_two_are_newer_than_each_other(one: str, other: str) -> None:
    assert not (newer(one, other) and newer(other, one))
