"""One instance, and one of somebody else's, for all tests: keys are what takes time."""

from __future__ import annotations

import pytest

from tests.keyless.instance import Instance


@pytest.fixture(scope="session")
def instance() -> Instance:
    return Instance()


@pytest.fixture(scope="session")
def second_version() -> Instance:
    """Its transparency log gives no time."""
    return Instance(version=2)


@pytest.fixture(scope="session")
def stranger() -> Instance:
    """An instance of the same names, with other keys."""
    return Instance()
