"""Every vector, as it is judged and in which words, and once more with every member on a lane, however small it is."""

from __future__ import annotations

import importlib
import io
import re

import pytest

from installer.bundle import lanes, verify
from installer.bundle.archive import BundleReader
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import ERRORS, SealiftError
from tests.vectors.catalogue import VECTORS
from tests.vectors.judge import NOW, installed
from tests.vectors.vector import Vector

REPEATS = {
    vector.name
    for number, vector in enumerate(VECTORS)
    if vector.error is not None and any(one.error == vector.error for one in VECTORS[:number])
}
"""Vectors by which another ends alike: asked only about functions that name this error."""
BY_ERROR = {vector.name for vector in VECTORS if vector.error is not None}
"""Vectors that are refused: those of other errors are not asked about a function that names errors."""
LANED = "test_ends_as_it_must_on_lanes"
BY_VECTOR = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


@BY_VECTOR
def test_ends_as_it_must_in_words(vector: Vector) -> None:
    refused: SealiftError | None = None
    try:
        installed(io.BytesIO(vector.bundle), TrustPolicy.from_root(vector.trusted, "root.json"))
    except SealiftError as error:
        refused = error
    assert (refused.id if refused else None) == vector.error
    assert refused is None or refused.message
    assert refused is None or not re.search(r"\bNone\b|XX", f"{refused.message} {refused.hint}"), refused.message


@pytest.fixture
def _every_member_on_a_lane(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify, "_SMALL", -1)
    monkeypatch.setattr(lanes, "cores", lambda: 3)


@pytest.mark.usefixtures("_every_member_on_a_lane")
@BY_VECTOR
def test_ends_as_it_must_on_lanes(vector: Vector) -> None:
    found: str | None = None
    try:
        with BundleReader.from_file(io.BytesIO(vector.bundle), "x.bundle.tar.zst") as reader:
            check_content(reader, verify_release(reader, TrustPolicy.from_root(vector.trusted, "root.json"), now=NOW))
    except SealiftError as error:
        found = error.id
    assert found == vector.error


def promising(mutant: str) -> set[str]:
    """The vectors, by name, that should end with an error id which the changed function names."""
    module, _, name = mutant.rpartition(".")
    place: object = importlib.import_module(module)
    if "ǁ" in name:
        place = getattr(place, name.split("ǁ")[1], None)
    function = getattr(place, f"{name.rpartition('__mutmut_')[0]}__mutmut_orig", None)
    constants = function.__code__.co_consts if function is not None else ()
    named = {constant for constant in constants if isinstance(constant, str) and constant in ERRORS}
    return {vector.name for vector in VECTORS if vector.error in named}
