"""The kept corpus of the fuzzers, without a fuzzer: what was found once stays mended."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import targets
from tests.fuzz.targets import TARGETS

CORPUS = Path(targets.__file__).with_name("corpus")


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_target_holds_on_its_corpus(name: str) -> None:
    inputs = sorted((CORPUS / name).iterdir())
    assert inputs
    for path in inputs:
        TARGETS[name](path.read_bytes())


def test_corpus_stays_small() -> None:
    files = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert len(files) < 500 and sum(path.stat().st_size for path in files) < 1_000_000
