"""YAML read as Compose reads it, and written so that nobody reads it otherwise."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from installer.errors import SealiftError
from installer.targets.strict_yaml import parse_mapping, write

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
DOCUMENTS = st.dictionaries(
    st.text(),
    st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20),
)


def bomb() -> bytes:
    """Nine lists of nine lists of ... : 9^9 items once spelled out."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 9)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: yes", "yes"),
        ("a: on", "on"),
        ("a: 22:22", "22:22"),
        ("a: 2026-11-21", "2026-11-21"),
        ("a: true", True),
        ("a: 0644", 0o644),
        ("a: 0o17", 15),
        ("a: 0x1F", 31),
        ("a: -12", -12),
        ("a: 0", 0),
        ("a: 089", "089"),
        ("a: 1.50", 1.5),
        ("a: 1e3", 1000.0),
        ("a: ", None),
        ("a: ~", None),
        ("a: '5'", "5"),
    ],
)
def test_reads_scalars_as_compose_does(text: str, value: object) -> None:
    found = parse_mapping(text.encode(), "x")["a"]
    assert found == value
    assert type(found) is type(value)


def test_keeps_anchors_and_merges() -> None:
    text = b"x-common: &common {a: 1, b: 2}\nmore: &more {<<: *common, b: 3}\nlast: {<<: *more, c: 4}\n"
    assert parse_mapping(text, "x") == {
        "x-common": {"a": 1, "b": 2},
        "more": {"a": 1, "b": 3},
        "last": {"a": 1, "b": 3, "c": 4},
    }


@pytest.mark.parametrize(
    "text",
    [
        b"a: 1\na: 2",
        b"s: {a: 1, a: 2}",
        b"a: *nowhere",
        b"a: &a [*a]",
        b"a: !!python/object/apply:os.system [id]",
        b"a: !!binary aGk=",
        b"a: !!set {x, y}",
        b"a: !reset null",
        b"5: x",
        b"? [a]\n: x",
        b"- list",
        b"just text",
        b"",
        b"a: [",
        b"\xff\xfe\x00",
        b"a: 1\n---\nb: 2",
        b"a: " + b"[" * 5000,
        b"a: " + b"9" * 5000,
        bomb(),
    ],
)
def test_refuses_what_is_not_one_plain_mapping(text: bytes) -> None:
    start = time.process_time()
    with pytest.raises(SealiftError) as refused:
        parse_mapping(text, "the compose file")
    assert refused.value.id == "compose-invalid"
    assert "the compose file" in refused.value.message
    assert time.process_time() - start < 20  # a bomb would take hours


@given(st.binary(max_size=60) | st.text(alphabet="ab:-[]{}&*!<|>\n '\"#0", max_size=60).map(str.encode))
def test_reads_or_refuses_any_bytes(text: bytes) -> None:
    try:
        parse_mapping(text, "x")
    except SealiftError as error:
        assert error.id == "compose-invalid"


@given(DOCUMENTS)
def test_what_is_written_is_read_back_the_same(document: dict[str, object]) -> None:
    written = write(document)
    assert parse_mapping(written, "x") == document
    assert write(parse_mapping(written, "x")) == written


@given(DOCUMENTS)
def test_what_is_written_means_the_same_to_another_reader(document: dict[str, object]) -> None:
    assert yaml.safe_load(write(document)) == document


def test_writes_in_one_order_and_quotes_what_another_reader_could_take_for_a_boolean() -> None:
    assert write({"b": "yes", "a": {"z": 1, "y": "plain"}}) == b'a:\n  "y": plain\n  z: 1\nb: "yes"\n'
