"""Members that are checked side by side: the same verdicts in the same order as one after the other."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator

import pytest

from installer.bundle import lanes, verify
from installer.bundle.archive import BundleReader
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from tests.unit.bundle.asking import checked, refusal
from tests.vectors.catalogue import VECTORS
from tests.vectors.forge import Forge, boundaries
from tests.vectors.judge import NOW

MIB = 1024 * 1024


@pytest.fixture(autouse=True, params=[1, 3])
def _every_member_on_a_lane(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However small a member is and however many cores there are; and no thread may stay behind."""
    monkeypatch.setattr(verify, "_SMALL", -1)
    monkeypatch.setattr(lanes, "cores", lambda: request.param)
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def verdict(bundle: bytes, root: bytes) -> str | None:
    """As :func:`tests.vectors.judge.verdict`, with nobody who wants the bytes."""
    try:
        with BundleReader.from_file(io.BytesIO(bundle), "x.bundle.tar.zst") as reader:
            check_content(reader, verify_release(reader, TrustPolicy.from_root(root, "root.json"), now=NOW))
    except SealiftError as error:
        return error.id
    return None


def test_refuses_every_vector_with_the_same_id() -> None:
    wrong = {
        vector.name: found for vector in VECTORS if (found := verdict(vector.bundle, vector.trusted)) != vector.error
    }
    assert wrong == {}


def damaged(forge: Forge, *numbers: int) -> list[str]:
    """Change a byte in these members of the content, those without bytes not counted; their names."""
    names = [name for name, data in forge.content.items() if data]
    names = [names[number] for number in numbers]
    for name in names:
        old = forge.content[name]
        forge.content[name] = bytes([old[0] ^ 1]) + old[1:]
    return names


@pytest.mark.parametrize("second", range(1, 8))
def test_names_the_first_of_two_damaged_members(second: int) -> None:
    forge = Forge().copy()
    first, _ = damaged(forge, 0, second)
    error = refusal(lambda: checked(forge.bytes()))
    assert (error.id, error.message.split()[0]) == ("digest-mismatch", first)


def test_damage_of_the_last_member_is_waited_for() -> None:
    forge = Forge().copy()
    (name,) = damaged(forge, -1)
    error = refusal(lambda: checked(forge.bytes()))
    assert (error.id, error.message.split()[0]) == ("digest-mismatch", name)


def test_damage_goes_before_whatever_the_reader_meets_behind_it() -> None:
    forge = Forge().copy()
    (name,) = damaged(forge, 1)
    whole = forge.bytes()
    frames = forge.frames()
    behind = next(n for n, frame in enumerate(frames) if frame.label == f"{name} [0]") + 1
    for cut in boundaries(frames)[behind:]:
        assert refusal(lambda cut=cut: checked(whole[: cut + 5])).id == "digest-mismatch"  # type: ignore[misc]
    before = boundaries(frames)[behind] - 1
    assert refusal(lambda: checked(whole[:before])).id == "truncated"


def test_who_stops_it_does_not_wait_for_the_rest() -> None:
    def stop(_: int) -> None:
        raise KeyboardInterrupt

    policy = Forge().policy
    with BundleReader.from_file(io.BytesIO(Forge().bytes()), "x.bundle.tar.zst") as reader:
        verified = verify_release(reader, policy)
        with pytest.raises(KeyboardInterrupt):
            check_content(reader, verified, progress=stop)
