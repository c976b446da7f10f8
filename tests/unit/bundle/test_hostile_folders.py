"""Media folders that hold something else than files under the names that we read: refused at once, never waited for."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest

from bundler.media.pack import pack
from bundler.verification import inspect_media, verify_media
from installer.bundle.archive import locate_bundle
from installer.bundle.parts import PARTS_FILE, PartsNote, open_bundle
from installer.errors import SealiftError
from tests.unit.trust.keys import policy
from tests.unit.trust.media import QUIET, Stick, make_kit

MOST_SECONDS = 60
"""A pipe would be waited for without an end."""


@pytest.fixture(autouse=True)
def _nobody_waits() -> Iterator[None]:
    def late(_: int, __: FrameType | None) -> None:
        raise TimeoutError("it waits for what a pipe on the media may say")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(MOST_SECONDS)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


@pytest.fixture
def stick(kit: Path, tmp_path: Path) -> Stick:
    return Stick.of(kit, tmp_path / "stick")


@pytest.fixture
def parted(kit: Path, tmp_path: Path) -> Path:
    return pack(kit, tmp_path / "parts", 4096, QUIET).kit


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(SealiftError) as caught:
        call()
    return caught.value.id


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "folder": os.mkdir,
    "endless-device": lambda path: path.symlink_to("/dev/zero"),
    "link-to-itself": lambda path: path.symlink_to(path.name),
}


def put(path: Path, kind: str) -> None:
    path.unlink(missing_ok=True)
    KINDS[kind](path)


@pytest.mark.parametrize("kind", KINDS)
def test_bundle_that_is_no_file(stick: Stick, kind: str) -> None:
    bundle = stick.bundle
    put(bundle, kind)
    wanted = {"folder": "not-a-bundle", "link-to-itself": "media-unreadable"}.get(kind, "media-not-a-file")
    for call in (lambda: verify_media(bundle, policy("release"), QUIET), lambda: inspect_media(bundle)):
        assert refused(call) == wanted


@pytest.mark.parametrize("kind", KINDS)
def test_program_that_is_no_file(stick: Stick, kind: str) -> None:
    put(stick.folder / "install", kind)
    if kind == "link-to-itself":  # it leads nowhere, so there is none
        assert "install beside the bundle" not in verify_media(stick.folder, policy("release"), QUIET).checked
    else:
        assert refused(lambda: verify_media(stick.folder, policy("release"), QUIET)) == "media-not-a-file"
    assert inspect_media(stick.folder)


def test_program_without_an_end_is_read_no_further_than_it_is_listed(stick: Stick) -> None:
    program = stick.folder / "install"
    program.chmod(0o755)
    os.truncate(program, 2**42)
    assert refused(lambda: verify_media(stick.folder, policy("release"), QUIET)) == "digest-mismatch"


@pytest.mark.parametrize("kind", KINDS)
def test_note_about_parts_that_is_no_file_counts_as_none(parted: Path, kind: str) -> None:
    put(parted / PARTS_FILE, kind)
    first = locate_bundle(parted)
    assert PartsNote.beside(first) is None
    with open_bundle(first) as file:
        assert len(file.read()) == sum(path.stat().st_size for path in parted.glob("*.bundle.tar.zst.*"))
    assert verify_media(parted, policy("release"), QUIET)


@pytest.mark.parametrize("kind", KINDS)
def test_part_that_is_no_file_is_missing(parted: Path, kind: str) -> None:
    put(next(parted.glob("*.002")), kind)
    assert refused(lambda: verify_media(parted, policy("release"), QUIET)) == "part-missing"


@pytest.mark.parametrize("noted", [True, False])
def test_folders_beside_that_let_nobody_in_hide_no_part(
    parted: Path, noted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (parted.parent / "lost+found").mkdir()
    is_file = Path.is_file

    def closed(path: Path) -> bool:
        if path.parent.name == "lost+found":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", closed)
    if not noted:
        (parted / PARTS_FILE).unlink()
    assert verify_media(parted, policy("release"), QUIET)
    next(parted.glob("*.002")).unlink()
    assert refused(lambda: verify_media(parted, policy("release"), QUIET)) == ("part-missing" if noted else "truncated")


def test_folder_of_many_bundles_is_told_in_one_line(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.bundle.tar.zst").touch()
    with pytest.raises(SealiftError, match="holds 300 bundles") as caught:
        locate_bundle(tmp_path)
    assert caught.value.id == "not-a-bundle"
    assert len(caught.value.message) < 200 + len(str(tmp_path))


def test_folder_named_as_a_bundle_is_none(stick: Stick) -> None:
    bundle = stick.bundle
    whole = bundle.rename(stick.folder / "whole")
    bundle.mkdir()
    shutil.move(whole, bundle / bundle.name)
    assert refused(lambda: verify_media(stick.folder, policy("release"), QUIET)) == "media-not-a-file"


@pytest.mark.parametrize("name", ["junk-{}\x1b[2J", "junk-{}.sigstore.json"])
def test_thousands_of_files_beside_stop_nothing_and_are_told_in_few_lines(stick: Stick, name: str) -> None:
    folder = stick.folder / "signatures"
    folder.mkdir(exist_ok=True)
    for number in range(2000):
        (folder / name.format(number)).write_bytes(b"{}")
    found = verify_media(stick.folder, policy("release"), QUIET)
    assert 32 <= len(found.passed_over) <= 100
    assert "signatures-too-many" in {item.error.id for item in found.passed_over}
    assert all(item.line().isprintable() for item in found.passed_over)
