"""Altered bundles: each is refused, or what would be installed is exactly the signed content."""

from __future__ import annotations

import io
import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest

from installer.bundle.frames import FrameReader, compress_frame
from installer.errors import ERRORS, ExitCode, SealiftError
from tests.vectors.forge import Forge, Frame, boundaries, file_of, frames_of
from tests.vectors.judge import installed

FORGE = Forge()
GOOD = FORGE.bytes()
CONTENT = installed(io.BytesIO(GOOD), FORGE.policy)
REFUSALS = (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED, ExitCode.INCOMPATIBLE)
FLIPS = 10_000
PARTS = 4
SEED = 20261121


def judged(data: bytes) -> str | None:
    """The id of the refusal; None where exactly the signed content would be installed. All else is a defect."""
    try:
        held = installed(io.BytesIO(data), FORGE.policy)
    except SealiftError as error:
        assert error.exit_code in REFUSALS, error.id
        return error.id
    assert held == CONTENT
    return None


def member_frames(name: str) -> tuple[int, bytes]:
    """The number of a small member's data frame, and its content."""
    found = FORGE.frames()
    number = [frame.label for frame in found].index(f"{name} [0]")
    return number, FrameReader(io.BytesIO(found[number].data)).read()


@pytest.mark.parametrize("name", ["release.json", "signatures/release.sigstore.json", "packing.json"])
def test_refuses_each_flipped_byte_of_the_envelope(name: str) -> None:
    """The flip is made inside the frame, which is made again, so that it reaches the parser."""
    number, content = member_frames(name)
    found = FORGE.frames()
    before, after = file_of(found[:number], b""), found[number + 1 :]
    for place in range(len(content)):
        for mask in (0x01, 0x80):
            flipped = bytearray(content)
            flipped[place] ^= mask
            frame = replace(found[number], data=compress_frame(bytes(flipped)))
            data = before + file_of([frame, *after], b"")
            assert judged(data + _table([*found[:number], frame, *after])) is not None, (place, mask)


def test_refuses_each_flipped_byte_of_the_envelope_signed_again() -> None:
    """Only the document's own rules can refuse it then; a value that is as good makes another release."""
    forge = Forge()
    kept = 0
    for place in range(len(FORGE.statement)):
        flipped = bytearray(FORGE.statement)
        flipped[place] ^= 0x01
        forge.raw = bytes(flipped)
        try:
            held = installed(io.BytesIO(forge.bytes()), FORGE.policy)
        except SealiftError as error:
            assert error.exit_code in REFUSALS
        else:
            kept += 1
            assert {**held, "release.json": b""} == {**CONTENT, "release.json": b""}
            assert held["release.json"] == forge.raw
    assert 0 < kept < len(FORGE.statement) // 4


def test_each_flipped_byte_of_the_file_is_refused_or_harmless() -> None:
    outcomes = Counter(judged(bytes([*GOOD[:place], GOOD[place] ^ 0x10, *GOOD[place + 1 :]])) for place in range(3100))
    assert outcomes[None] < 31 * 3  # frames that unpack to the same bytes


@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_random_flips_are_refused_or_harmless(part: int) -> None:
    chance = random.Random(SEED + part)
    outcomes: Counter[str | None] = Counter()
    for _ in range(FLIPS // PARTS):
        data = bytearray(GOOD)
        for _ in range(chance.choice((1, 1, 1, 2, 8))):
            data[chance.randrange(len(data))] ^= chance.randrange(1, 256)
        outcomes[judged(bytes(data))] += 1
    assert sum(outcomes.values()) == FLIPS // PARTS
    assert outcomes[None] < FLIPS // PARTS // 50
    assert len(outcomes) > 15 and outcomes["digest-mismatch"] > 100


def truncations() -> list[int]:
    """Where the file is cut: at every boundary of a member and a frame, one before, one behind, and between them."""
    edges = {edge + step for edge in boundaries(FORGE.frames()) for step in (-1, 0, 1)}
    return sorted(place for place in edges | {*range(12), *range(0, len(GOOD), 97)} if 0 <= place < len(GOOD))


def test_refuses_every_truncation() -> None:
    assert len(truncations()) > 200
    for place in truncations():
        found = judged(GOOD[:place])
        assert found == ("not-a-bundle" if place < 5 else "truncated"), place
    assert judged(GOOD[:-1]) == "truncated"


def changed_lists(count: int) -> Iterator[tuple[str, list[int]]]:
    """Every swap of two, every repetition, every omission among ``count`` things."""
    order = list(range(count))
    for first in order:
        yield f"without {first}", [one for one in order if one != first]
        yield f"{first} twice", [*order[:first], first, *order[first:]]
        for second in order[first + 1 :]:
            swapped = order.copy()
            swapped[first], swapped[second] = second, first
            yield f"{first} and {second} swapped", swapped


def test_refuses_members_swapped_repeated_or_dropped() -> None:
    members = FORGE.members()
    for what, order in changed_lists(len(members)):
        assert judged(file_of(frames_of([members[number] for number in order]))) is not None, what


def test_refuses_frames_swapped_repeated_or_dropped() -> None:
    found = FORGE.frames()
    for what, order in changed_lists(len(found)):
        data = file_of([found[number] for number in order])
        assert judged(data) is not None or data == GOOD, what


def test_every_refusal_names_an_id_of_the_table() -> None:
    assert {judged(GOOD[:4]), judged(GOOD + b"x")} <= set(ERRORS)


def _table(frames: list[Frame]) -> bytes:
    return file_of(frames)[sum(len(frame.data) for frame in frames) :]
