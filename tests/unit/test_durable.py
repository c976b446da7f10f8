"""What a kill leaves of folders that were being replaced or taken away."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from installer.durable import remove_folder, tidy, write_folder


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with one file."""
    write_folder(tmp_path / "1.0.0", {"a/b": (b"old", 0o644)})
    return tmp_path / "1.0.0"


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


class KilledError(BaseException):
    """The plug is pulled."""


def killed(*_: object, **__: object) -> Path:
    raise KilledError


def test_a_folder_that_was_half_taken_away_is_not_there_and_its_rest_goes(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(shutil, "rmtree", killed)
        remove_folder(place)
    assert not place.exists()
    tidy(place.parent)
    assert names(place.parent) == []
    remove_folder(place)


def test_a_folder_that_was_being_replaced_comes_back(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.rename

    def rename(source: Path, target: Path) -> Path:
        return killed() if source.suffix == ".tmp" else real(source, target)

    with monkeypatch.context() as patch, pytest.raises(KilledError):
        patch.setattr(Path, "rename", rename)
        write_folder(place, {"a/b": (b"new", 0o644)})
    assert not place.exists()
    tidy(place.parent)
    assert names(place.parent) == ["1.0.0/a/b"]
    assert (place / "a/b").read_bytes() == b"old"
