"""All vectors in one test: six hundred tests of their own would spend most of their time in pytest, for each mutant.

Those come first that should end with an error id which the changed function names.
"""

from __future__ import annotations

import importlib
import os

from installer.errors import ERRORS
from tests.vectors.catalogue import VECTORS
from tests.vectors.judge import verdict


def likely() -> set[str]:
    """The error ids in the function that is changed; mutmut says which one that is."""
    module, _, name = os.environ.get("MUTANT_UNDER_TEST", "").rpartition(".")
    if not module.startswith("installer.bundle."):
        return set()
    place: object = importlib.import_module(module)
    if "ǁ" in name:
        place = getattr(place, name.split("ǁ")[1], None)
    function = getattr(place, f"{name.rpartition('__mutmut_')[0]}__mutmut_orig", None)
    constants = function.__code__.co_consts if function is not None else ()
    return {constant for constant in constants if isinstance(constant, str) and constant in ERRORS}


def test_every_vector_ends_as_it_must() -> None:
    first = likely()
    for vector in sorted(VECTORS, key=lambda vector: vector.error not in first):
        assert verdict(vector.bundle, vector.trusted) == vector.error, vector.name
