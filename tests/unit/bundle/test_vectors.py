"""Every hostile vector is refused with its own error id; every harmless one is accepted."""

from __future__ import annotations

import ast
import re
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import pytest

import installer.bundle
from installer.errors import ERRORS
from tests.vectors.catalogue import BY_NAME, HOSTILE, VECTORS
from tests.vectors.judge import verdict
from tests.vectors.vector import Vector
from tests.vectors.write import write

PACKAGE = Path(installer.bundle.__file__).parent
NOT_ABOUT_BYTES = {"media-unreadable", "media-not-a-file", "key-unreadable", "digest-malformed", "too-large"}
NOT_ABOUT_BYTES |= {"path-note-invalid"}
"""Raised by the package for what no bundle's bytes can be: files that cannot be opened, keys and digests typed."""

MOST_MEMORY = 64 * 1024 * 1024
MOST_CPU_SECONDS = 5.0


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_refuses_each_with_its_own_id(vector: Vector) -> None:
    assert verdict(vector.bundle, vector.trusted) == vector.error, vector.what


def test_there_are_at_least_200_hostile_ones_and_each_has_one_name() -> None:
    assert len(HOSTILE) >= 200
    assert len(BY_NAME) == len(VECTORS)
    assert all(re.fullmatch(r"[a-z0-9+-]+", name) for name in BY_NAME)


def test_no_two_are_the_same_bytes_and_root() -> None:
    made = Counter((vector.bundle, vector.trusted) for vector in VECTORS)
    assert [count for count in made.values() if count > 1] == []


def test_every_id_that_the_verifier_raises_has_a_vector() -> None:
    raised = {
        node.value
        for path in PACKAGE.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in ERRORS
    }
    keyless = {
        name for name in raised if name.startswith("keyless-")
    }  # tests/keyless has an instance to make them with
    parts = {name for name in raised if name.startswith("part-")}  # tests/unit/bundle/test_parts: about many files
    receipts = {
        name for name in raised if name.startswith(("receipt-", "path-note-"))
    }  # in no bundle: tests/unit/receipts
    # tests/unit/bundle/test_age and bundler/test_encrypted_media: what stands before a bundle is read
    encrypted = {name for name in raised if name.startswith(("age-", "media-key-"))} | {"media-encrypted"}
    assert raised - NOT_ABOUT_BYTES - keyless - parts - encrypted - receipts == {vector.error for vector in HOSTILE}


@pytest.mark.parametrize(
    "name", ["bomb-4-gib", "bomb-hidden", "blocks-million", "depth-million", "release-8-gib", "good-large"]
)
def test_the_worst_stay_within_bounded_memory_and_time(name: str) -> None:
    vector = BY_NAME[name]
    bundle, root = vector.bundle, vector.trusted
    tracemalloc.start()
    began = time.process_time()
    try:
        assert verdict(bundle, root) == vector.error
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MOST_MEMORY + len(bundle)
    assert time.process_time() - began < MOST_CPU_SECONDS


def test_every_vector_can_be_written_for_other_verifiers(tmp_path: Path) -> None:
    listed = write(tmp_path)
    assert len(listed) == len(VECTORS)
    one = next(entry for entry in listed if entry["name"] == "hard-link")
    assert (one["exit_code"], one["error"]) == (3, "member-link")
    assert (tmp_path / str(one["bundle"])).is_file() and (tmp_path / str(one["root"])).is_file()
