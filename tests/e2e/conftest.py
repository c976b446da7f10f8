"""What several files of this folder share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.mediapage import Stage, copy_of, furnish


@pytest.fixture(scope="session")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """The machines of docs/media.md, before anything was built."""
    return furnish(tmp_path_factory.mktemp("furnished") / "stage")


@pytest.fixture
def stage(furnished: Stage, tmp_path: Path) -> Stage:
    """The same, for one section of the page."""
    return copy_of(furnished, tmp_path / "stage")
