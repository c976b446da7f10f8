"""Large blobs are checked from the end of the file while a slow sink holds up its front: the verdicts stay the same."""

from __future__ import annotations

import io
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from installer.bundle import ahead, frames
from installer.bundle import places as places_of
from installer.bundle.ahead import Ahead
from installer.bundle.archive import BundleReader
from installer.bundle.content import Writer
from installer.bundle.places import member_places
from installer.bundle.release import Descriptor, File
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from tests.vectors.catalogue import VECTORS
from tests.vectors.forge import RELEASE, Forge, Frame, file_of, root_of
from tests.vectors.judge import NOW, Collected

HELD = threading.Event()
HELD.set()


@pytest.fixture(autouse=True)
def _blobs_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ahead, "LARGE", 0)


@pytest.fixture(autouse=True)
def _all_of_them_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody is waited for, the blobs are checked from the end before the read from the front begins."""
    begin = Ahead.__enter__

    def begin_and_wait(self: Ahead) -> Ahead:
        if self._outrun is HELD:
            self.look()
        if self._thread is not None:
            self._thread.join()
        return begin(self)

    monkeypatch.setattr(Ahead, "__enter__", begin_and_wait)


@pytest.fixture(autouse=True)
def _no_thread_fails(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    failures: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failures.append)
    yield
    assert failures == []


class Named(Collected):
    """Knows which threads asked it."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: set[str] = set()

    def open(self, member: File | Descriptor) -> Writer:
        self.threads.add(threading.current_thread().name)
        return super().open(member)


def read(path: Path, root: bytes, outrun: threading.Event | None = HELD) -> tuple[str | None, dict[str, bytes]]:
    """The error id and first word of the message, or None; and what a sink got."""
    sink = Collected()
    try:
        with BundleReader(path) as reader:
            verified = verify_release(reader, TrustPolicy.from_root(root, "root.json"), now=NOW)
            check_content(reader, verified, [sink], outrun=outrun)
    except SealiftError as error:
        return f"{error.id} {error.message.split()[0]}", sink.held
    return None, sink.held


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.bundle.tar.zst"


def blobs(forge: Forge) -> list[str]:
    return [name for name in forge.content if name.startswith("blobs/")]


def test_refuses_every_vector_with_the_same_id(path: Path) -> None:
    wrong = {}
    for vector in VECTORS:
        path.write_bytes(vector.bundle)
        found = (read(path, vector.trusted)[0] or "").split()
        if found[:1] != ([vector.error] if vector.error else []):
            wrong[vector.name] = found
    assert wrong == {}


def test_every_blob_is_checked_once_and_its_bytes_are_read_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge, took, count = Forge(), list[bool](), 0
    path.write_bytes(forge.bytes())
    take, exactly = Ahead.take, frames.FrameReader._exactly

    def counted(self: frames.FrameReader, number: int) -> bytes:
        nonlocal count
        count += number
        return exactly(self, number)

    def noted(self: Ahead, name: str, position: int) -> object:
        found = take(self, name, position)
        if name.startswith("blobs/"):
            took.append(found is not None)
        return found

    monkeypatch.setattr(frames.FrameReader, "_exactly", counted)
    alone = read(path, root_of(RELEASE), None)
    once, count = count, 0
    monkeypatch.setattr(Ahead, "take", noted)
    assert read(path, root_of(RELEASE)) == alone == (None, alone[1])
    assert took == [True] * len(blobs(forge))
    # What is passed over costs its frame and block headers, and each header of a member is read at both places.
    assert count - once < len(took) * 150


@pytest.mark.parametrize(("first", "second"), [(0, 1), (0, 2), (1, 2)])
def test_names_the_first_of_two_damaged_blobs(first: int, second: int, path: Path) -> None:
    forge = Forge().copy()
    names = [blobs(forge)[first], blobs(forge)[second]]
    for name in names:
        forge.content[name] = bytes([forge.content[name][0] ^ 1]) + forge.content[name][1:]
    path.write_bytes(forge.bytes())
    assert read(path, root_of(RELEASE))[0] == f"digest-mismatch {names[0]}"


def test_says_the_same_of_damage_anywhere_as_who_reads_from_the_front(path: Path) -> None:
    whole, chance = Forge().bytes(), random.Random(6)
    for _ in range(200):
        place, cut = chance.randrange(len(whole)), chance.randrange(len(whole))
        damaged = whole[:place] + bytes([whole[place] ^ 1 << chance.randrange(8)]) + whole[place + 1 :]
        path.write_bytes(chance.choice((damaged, whole[:cut], damaged[: max(cut, place)])))
        found, alone = read(path, root_of(RELEASE)), read(path, root_of(RELEASE), None)
        assert found[0] == alone[0]
        assert set(alone[1].items()) <= set(found[1].items()) or found[0] is not None


def moved_index(forge: Forge, chance: random.Random) -> bytes:
    """A bundle whose seek table gives each frame the size of another one, or takes two for one."""
    real = forge.frames()
    told = chance.sample(real, len(real))
    if chance.random() < 0.5:
        place = chance.randrange(len(real) - 1)
        one, two = real[place : place + 2]
        told = [*real[:place], Frame(one.data + two.data, one.content + two.content, ""), *real[place + 2 :]]
    table = file_of(told)[sum(len(frame.data) for frame in told) :]
    return b"".join(frame.data for frame in real) + table


def test_an_index_that_leads_elsewhere_brings_nothing_in(path: Path) -> None:
    chance = random.Random(7)
    for _ in range(200):
        forge = Forge().copy()
        if chance.random() < 0.5:
            name = chance.choice(blobs(forge))
            forge.content[name] = bytes([forge.content[name][0] ^ 1]) + forge.content[name][1:]
        path.write_bytes(moved_index(forge, chance))
        found, alone = read(path, root_of(RELEASE))[0], read(path, root_of(RELEASE), None)[0]
        assert found == alone is not None


def test_an_index_that_is_too_short_leads_as_far_as_it_goes(path: Path) -> None:
    forge = Forge()
    real = forge.frames()
    for dropped in range(5, 9):
        rest = Frame(b"".join(one.data for one in real[-dropped:]), 1024, "")
        path.write_bytes(file_of([*real[:-dropped], rest]))
        with BundleReader(path) as reader:
            members = dict(verify_release(reader, forge.policy).release.members())
            places = member_places(reader, members)
            assert places is not None and 0 < len(places) < len(members)
            assert list(places) == list(members)[: len(places)]


def test_an_index_is_read_up_to_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge()
    path.write_bytes(forge.bytes())
    with BundleReader(path) as reader:
        members = dict(verify_release(reader, forge.policy).release.members())
        for bound in (len(forge.frames()), len(forge.frames()) - 1):
            monkeypatch.setattr(places_of, "_MOST", bound)
            assert (member_places(reader, members) is None) is (bound < len(forge.frames()))


@pytest.mark.parametrize("more", [0, 1])
def test_only_large_blobs_are_worth_it(more: int, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forge = Forge()
    path.write_bytes(forge.bytes())
    largest = max(len(forge.content[name]) for name in blobs(forge))
    monkeypatch.setattr(ahead, "LARGE", largest + more)
    with BundleReader(path) as reader:
        sink = Named()
        check_content(reader, verify_release(reader, forge.policy), [sink], outrun=HELD)
    assert sink.threads == ({"MainThread"} if more else {"MainThread", "ahead"})


def test_media_that_fail_at_the_end_are_left_to_who_reads_them_from_the_front(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pulled(self: BundleReader, count: int) -> bytes:
        raise SealiftError("media-unreadable", "pulled")

    monkeypatch.setattr(BundleReader, "tail", pulled)
    path.write_bytes(Forge().bytes())
    assert read(path, root_of(RELEASE)) == read(path, root_of(RELEASE), None)


def test_an_index_without_end_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(Forge().bytes()[:-9] + b"\xff\xff\xff\xff\0\xb1\xea\x92\x8f")
    asked, tail = list[int](), BundleReader.tail

    def noted(self: BundleReader, count: int) -> bytes:
        asked.append(count)
        return tail(self, count)

    monkeypatch.setattr(BundleReader, "tail", noted)
    with BundleReader(path) as reader:
        release = verify_release(reader, Forge().policy).release
        assert member_places(reader, dict(release.members())) is None
    assert asked == [9]


def test_finds_every_member_where_it_begins(path: Path) -> None:
    forge = Forge()
    path.write_bytes(forge.bytes())
    with BundleReader(path) as reader:
        members = dict(verify_release(reader, forge.policy).release.members())
        places = member_places(reader, members)
        assert places is not None and list(places) == list(members)
        for name, position in places.items():
            reader.jump(position)
            header = reader.next_header()
            assert header is not None and header.name == name


class Held(Collected):
    """Says at the first blob that the media are faster, and holds up the second until somebody else opened another."""

    def __init__(self, outrun: threading.Event) -> None:
        super().__init__()
        self._outrun, self._other = outrun, threading.Event()
        self.threads: list[str] = []

    def open(self, member: File | Descriptor) -> Writer:
        name = threading.current_thread().name
        self.threads.append(name)
        if name == "ahead":
            self._other.set()
        return _HeldUp(super().open(member), self._outrun, self._other, isinstance(member, Descriptor))


class _HeldUp(Writer):
    def __init__(self, writer: Writer, outrun: threading.Event, other: threading.Event, large: bool) -> None:
        self._writer, self._outrun, self._other, self._large = writer, outrun, other, large

    def write(self, chunk: bytes) -> None:
        if self._large and threading.current_thread().name != "ahead":
            assert not self._outrun.is_set() or self._other.wait(10)
            self._outrun.set()
        self._writer.write(chunk)

    def finish(self) -> None:
        self._writer.finish()

    def abort(self) -> None:
        self._writer.abort()


def test_begins_once_a_sink_is_slower_than_the_media(path: Path) -> None:
    path.write_bytes(Forge().bytes())
    before, outrun, steps = threading.active_count(), threading.Event(), list[int]()
    sink = Held(outrun)
    with BundleReader(path) as reader:
        verified = verify_release(reader, Forge().policy)
        assert check_content(reader, verified, [sink], outrun=outrun, progress=steps.append) == ()
        assert sum(steps) <= reader.size
    assert set(sink.held.values()) == set(Forge().content.values())
    assert {"MainThread", "ahead"} == set(sink.threads)
    assert threading.active_count() == before


@pytest.mark.parametrize(("outrun", "quick"), [(threading.Event(), False), (None, False), (HELD, True)])
def test_reads_from_the_front_alone(outrun: threading.Event | None, quick: bool, path: Path) -> None:
    """Where the media are slower than the sinks, nobody knows, or only what a sink wants is read."""
    path.write_bytes(Forge().bytes())
    before, sink = threading.active_count(), Named()
    with BundleReader(path) as reader:
        check_content(reader, verify_release(reader, Forge().policy), [sink], outrun=outrun, quick=quick)
    assert sink.threads == {"MainThread"} and threading.active_count() == before


def test_media_that_are_read_at_one_place_are_not_read_at_two(tmp_path: Path) -> None:
    forge = Forge()
    whole = forge.bytes()
    for number, start in enumerate(range(0, len(whole), 5000), 1):
        (tmp_path / f"x.bundle.tar.zst.{number:03}").write_bytes(whole[start : start + 5000])
    with BundleReader.from_file(io.BytesIO(whole), "x.bundle.tar.zst") as reader:
        assert reader.beside() is None
    with BundleReader(tmp_path / "x.bundle.tar.zst.001") as reader:
        assert reader.beside() is None
        verified = verify_release(reader, forge.policy)
        sink = Collected()
        check_content(reader, verified, [sink], outrun=HELD)
    assert set(sink.held.values()) == set(forge.content.values())


class Stalled(Collected):
    """What comes from the end does not go on."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()

    def open(self, member: File | Descriptor) -> Writer:
        if threading.current_thread().name == "ahead":
            assert threading.current_thread().daemon
            self.begun.set()
            self.released.wait(20)
        return super().open(member)


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SealiftError("media-unreadable", "pulled")], ids=["^C", "pulled"])
def test_who_stops_it_does_not_wait_for_what_comes_from_the_end(end: BaseException, path: Path) -> None:
    path.write_bytes(Forge().bytes())
    before, outrun, sink = threading.active_count(), threading.Event(), Stalled()

    def stop(_: int) -> None:
        if outrun.is_set():
            assert sink.begun.wait(10)
            raise end
        outrun.set()

    with BundleReader(path) as reader:
        verified = verify_release(reader, Forge().policy)
        with pytest.raises(type(end)):
            check_content(reader, verified, [sink], progress=stop, outrun=outrun)
    assert not sink.released.is_set() and threading.active_count() > before
    sink.released.set()
    for _ in range(200):
        if threading.active_count() == before:
            return
        time.sleep(0.05)
    raise AssertionError("a thread stayed behind")
