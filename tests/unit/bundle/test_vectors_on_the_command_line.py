"""Hostile bundles under the site's program: the right code and id, one JSON object, nothing written, no traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bundler.cli import main as bundle_main
from installer.bundle.digest import Digest
from installer.cli import app
from installer.talk import run_cli
from installer.trust.store import provision
from tests.vectors.catalogue import BY_NAME, VECTORS
from tests.vectors.vector import Vector, good_root

HERE = [vector for vector in VECTORS if vector.trusted == good_root()]
PARTS = 3
WORST = (
    "good",
    "bomb-4-gib",
    "bomb-hidden",
    "blocks-million",
    "depth-million",
    "number-digits",
    "path-escape",
    "stranger",
)
MOST_RSS = 160 * 1024 * 1024
MOST_CPU_SECONDS = 20.0
# A child's peak begins with that of the process that starts it: a small one must, not this one with all its vectors.
MEASURE = """
import os, sys
child = os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ)
_, status, used = os.wait4(child, 0)
with open(sys.argv[1], "w") as file:
    file.write(f"{used.ru_maxrss} {used.ru_utime + used.ru_stime}")
sys.exit(os.waitstatus_to_exitcode(status))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a provisioned state dir, a media folder, a home, and a folder for temporary files."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("media", "home", "scratch"):
        (folder / name).mkdir()
    root = folder / "root.json"
    root.write_bytes(good_root())
    provision(folder / "state", root, str(Digest.of(good_root())))
    yield folder


def snapshot(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Every file and folder below ``folder``: mode, time, content."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def media_of(place: Path, vector: Vector) -> Path:
    path = place / "media" / "p-1.0.0-linux-amd64.bundle.tar.zst"
    path.write_bytes(vector.bundle)
    return path


def check(code: int, out: str, err: str, vector: Vector) -> None:
    value: dict[str, Any] = json.loads(out)
    assert code == vector.code
    assert value.get("error", {}).get("id") == vector.error
    assert "Traceback" not in err + out and "internal" not in err
    assert all(line.isprintable() for line in err.splitlines()), "a control character reached the terminal"
    if vector.error is None:
        assert value["verified"] is True


@pytest.mark.parametrize("part", range(PARTS))
def test_every_vector_ends_as_the_table_says_and_changes_nothing(
    part: int, place: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(place / "scratch"))
    assert len(HERE) > 500
    for vector in HERE[part::PARTS]:
        path = media_of(place, vector)
        before = snapshot(place)
        arguments = ["--json", "--state-dir", str(place / "state"), "verify", str(path)]
        code = run_cli(app, arguments, program="sealift", anywhere=("--state-dir", "--site"))
        out, err = capsys.readouterr()
        check(code, out, err, vector)
        assert snapshot(place) == before, vector.name


def test_every_other_root_is_judged_on_the_build_side_too(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    others = [vector for vector in VECTORS if vector.trusted != good_root()]
    assert len(others) > 30
    for vector in others:
        path, root = media_of(place, vector), place / "other-root.json"
        root.write_bytes(vector.trusted)
        before = snapshot(place)
        code = bundle_main(["verify", str(path), "--trust", str(root), "--json"])
        out, err = capsys.readouterr()
        check(code, out, err, vector)
        assert snapshot(place) == before, vector.name


@pytest.mark.parametrize("name", WORST)
def test_the_worst_end_in_bounded_memory_and_time_as_a_process(place: Path, tmp_path: Path, name: str) -> None:
    vector = BY_NAME[name]
    path = media_of(place, vector)
    before = snapshot(place)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(place / "home"),
        "TMPDIR": str(place / "scratch"),
        "PYTHONPATH": str(Path(__file__).resolve().parents[3]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    command = [sys.executable, "-m", "installer", "--json", "--state-dir", str(place / "state"), "verify", str(path)]
    measured = [sys.executable, "-S", "-c", MEASURE, str(tmp_path / "used"), *command]
    done = subprocess.run(measured, env=environment, cwd=place, capture_output=True, text=True)
    check(done.returncode, done.stdout, done.stderr, vector)
    assert snapshot(place) == before
    kib, seconds = (tmp_path / "used").read_text().split()
    assert int(kib) * 1024 < MOST_RSS
    assert float(seconds) < MOST_CPU_SECONDS
