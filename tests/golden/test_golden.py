"""What an older sealift has signed, this one reads to the same result, or refuses for the reason written down."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from installer import __version__
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from tests.golden.make import MOST_BYTES

HERE = Path(__file__).resolve().parent
FOLDERS = sorted(path.parent for path in HERE.glob("*/root.json"))
each_golden_bundle = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def refusal(folder: Path) -> dict[str, Any] | None:
    """Why this version refuses the bundle on purpose; None where it must read it."""
    path = folder / "refused.json"
    return json.loads(path.read_text()) if path.exists() else None


def run(*words: str | Path) -> tuple[int, dict[str, Any]]:
    """A command of ours with ``--json``: exit code and the JSON object."""
    environment = os.environ | {"PYTHONPATH": str(HERE.parents[1])}
    done = subprocess.run(
        [sys.executable, "-m", *words, "--json"], env=environment, capture_output=True, text=True, timeout=60
    )
    return done.returncode, json.loads(done.stdout)


def agrees(folder: Path, code: int, value: dict[str, Any]) -> None:
    """What a command said of the bundle is what was written down."""
    refused = refusal(folder)
    if refused is not None:
        assert (code, value["error"]["id"]) == (refused["code"], refused["id"])
        return
    expected = json.loads((folder / "verify.json").read_text())
    assert code == 0, value
    assert [one["key"] for one in value["signers"]] == [one["key"] for one in expected["signers"]]
    same = ("verified", "digest", "product", "version", "not_checked")
    assert {name: value[name] for name in same} == {name: expected[name] for name in same}


def test_there_is_one_of_this_version_and_of_each_release_before() -> None:
    project = tomllib.loads((HERE.parents[1] / "pyproject.toml").read_text())["project"]
    assert __version__ == project["version"]
    versions = {folder.name for folder in FOLDERS}
    assert __version__ in versions
    released = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", (HERE.parents[1] / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert set(released) <= versions


def test_none_was_changed_or_lost() -> None:
    listed = re.findall(r"^\| `([0-9a-f]{64})` \| `(\S+)` \|$", (HERE / "README.md").read_text(), re.MULTILINE)
    found = [(hashlib.sha256(path.read_bytes()).hexdigest(), path) for path in sorted(HERE.glob("*/*.bundle.tar.zst"))]
    assert listed == [(digest, str(path.relative_to(HERE))) for digest, path in found]
    assert [folder.name for folder in FOLDERS] == [path.parent.name for _, path in found]


@each_golden_bundle
def test_holds_no_private_key_and_stays_small(folder: Path) -> None:
    files = list(folder.iterdir())
    assert sum(path.stat().st_size for path in files) <= MOST_BYTES
    assert [path.name for path in files if b"PRIVATE" in path.read_bytes()] == []


@each_golden_bundle
def test_library_reads_it_to_the_same_release(folder: Path) -> None:
    policy = TrustPolicy.from_root((folder / "root.json").read_bytes(), "root.json")
    refused = refusal(folder)
    with BundleReader(locate_bundle(folder)) as reader:
        if refused is not None:
            with pytest.raises(SealiftError) as caught:
                check_content(reader, verify_release(reader, policy))
            assert caught.value.id == refused["id"]
            return
        verified = verify_release(reader, policy)
        assert check_content(reader, verified) == ()
    assert Release.parse(verified.raw).to_bytes() == verified.raw
    assert str(verified.digest) == json.loads((folder / "verify.json").read_text())["digest"]


@each_golden_bundle
def test_bundle_verify_says_the_same_as_then(folder: Path) -> None:
    agrees(folder, *run("bundler", "verify", locate_bundle(folder), "--trust", folder / "root.json"))


@each_golden_bundle
def test_site_verifies_it_by_the_trust_it_was_given(folder: Path, tmp_path: Path) -> None:
    root = folder / "root.json"
    fingerprint = f"sha256:{hashlib.sha256(root.read_bytes()).hexdigest()}"
    state = ("--state-dir", tmp_path / "state")
    code, value = run("installer", "trust", "init", root, "--fingerprint", fingerprint, *state)
    assert code == 0, value
    agrees(folder, *run("installer", "verify", locate_bundle(folder), *state))
