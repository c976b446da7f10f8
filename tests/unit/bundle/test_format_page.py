"""The code follows FORMAT.md: its tables and its example are the input of these tests."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import zstandard

import installer.bundle
from installer.bundle import archive, frames, packing, release, roots, signature, tarheader, trust
from installer.bundle.fields import Closed
from installer.bundle.release import ROLE_FOLDER, Release
from installer.errors import ERRORS
from tests.vectors.catalogue import HOSTILE
from tests.vectors.forge import Forge, boundaries
from tests.vectors.vector import FIELDS, good

PAGE = Path(installer.bundle.__file__).with_name("FORMAT.md").read_text(encoding="utf-8")
REFUSALS = re.findall(r"^\| `([a-z0-9-]+)` \| (\d+) \|", PAGE, re.MULTILINE)
UNITS = {"KiB": 2**10, "MiB": 2**20}


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return re.split(r"^#+ .*$", PAGE.split(f"{title}\n", 1)[1], maxsplit=1, flags=re.MULTILINE)[0]


def cells(text: str) -> list[list[str]]:
    """Rows of the tables in ``text``, without their heads."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]
    return [
        row
        for row in rows
        if not set(row[0]) <= {"-"} and row[0] not in ("member", "offset", "field", "id", "at", "name")
    ]


def test_names_every_id_of_a_vector_and_no_other() -> None:
    files = {"media-unreadable", "media-not-a-file"}
    files |= {
        "patch-encoder",
        "patch-unconfined",
        "patch-too-large",
        "patch-malformed",
        "delta-base-missing",
    }  # by others
    assert {name for name, _ in REFUSALS} == {str(vector.error) for vector in HOSTILE} | files


def test_gives_every_id_the_code_that_it_ends_with() -> None:
    assert [(name, code) for name, code in REFUSALS if int(ERRORS[name]) != int(code)] == []


def test_names_the_caps_that_the_reader_holds() -> None:
    caps = {row[0].strip("`"): row[3] for row in cells(section("### Members, in this order"))}

    def number(text: str) -> int:
        count, unit = text.split()[:2]
        return int(count) * UNITS[unit]

    assert number(caps["release.json"]) == release.MAX_RELEASE_BYTES
    assert number(caps["signatures/<name>.sigstore.json"]) == signature.MAX_SIGNATURE_BYTES
    assert number(caps["trust/<version>.root.json"]) == trust.MAX_ROOT_BYTES
    assert "64 at most" in section("### Members, in this order") and roots.MAX_ROOTS == 64
    assert number(caps["packing.json"]) == packing.MAX_PACKING_BYTES
    assert "32 at most" in section("### Members, in this order") and signature.MAX_SIGNATURES == 32
    assert "at most 512 KiB" in section("### The root of trust") and trust.MAX_ROOT_BYTES == 512 * 1024
    assert "8 MiB + 512" in section("### Frames") and frames.MAX_CONTENT == 8 * 2**20 + 512
    assert "a window of at most 8 MiB" in section("### Frames") and frames.MAX_WINDOW == 8 * 2**20
    assert "at most 2⁵⁰" in section("### Tar headers") and tarheader.MAX_SIZE == 2**50


def test_names_the_members_that_the_writer_writes_in_that_order() -> None:
    rows = [row[0].strip("`") for row in cells(section("### Members, in this order"))]
    assert rows[0] == archive.RELEASE_MEMBER and rows[3] == archive.PACKING_MEMBER
    folders = cells(section("### Members, in this order"))[4][1]
    assert {f"`{folder}`" for folder in ROLE_FOLDER.values()} <= set(folders.replace(",", " ").split())


def test_gives_every_field_of_the_tar_header_its_place() -> None:
    rows = [(int(row[0]), int(row[1])) for row in cells(section("### Tar headers"))]
    assert rows[0][0] == 0 and all(start + length == after for (start, length), (after, _) in pairwise(rows))
    assert rows[-1] == (265, 247)
    starts = {start for start, _ in rows}
    assert starts <= {start for start, _ in FIELDS.values()}


def test_names_every_field_of_the_release() -> None:
    words = set(re.findall(r"[a-z_]+", section("### `release.json`")))
    models = [value for value in vars(release).values() if isinstance(value, type) and issubclass(value, Closed)]
    assert Release in models
    assert {name for model in models for name in model.model_fields} - words == set()


def test_example_is_what_the_forge_makes() -> None:
    data, found = good(), Forge().frames()
    places = boundaries(found)
    for row in cells(section("## An example")):
        if row[0] == "…" or row[3] == "seek table":
            continue
        number = places.index(int(row[0]))
        frame = found[number]
        assert (len(frame.data), frame.content, frame.label) == (int(row[1]), int(row[2]), row[3])
    assert f"| {places[-1]} | {len(data) - places[-1]} | | seek table |" in PAGE
    header = zstandard.ZstdDecompressor().decompress(found[0].data)
    dumps = section("## An example").split("```")[1::2]
    for source, dump in zip((data, header, data), dumps, strict=True):
        for place, digits in re.findall(r"^([0-9a-f]{8}): ((?:[0-9a-f]{2,4} )+)", dump, re.MULTILINE):
            expected = bytes.fromhex(digits.replace(" ", ""))
            assert source[int(place, 16) : int(place, 16) + len(expected)] == expected
