"""The real ``bundle build``, killed or interrupted at system calls that change something: the next one ends well.

``KILLS`` says how many calls are drawn (``make kills`` draws many), ``SEED`` which.
"""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from bundler.signing.sign import generate
from tests.unit.bundler.layouts import make_product

CHANGING = (
    "write,pwrite64,writev,sendfile,copy_file_range,ftruncate,fallocate,fsync,fdatasync,rename,renameat,renameat2,"
    "mkdir,mkdirat,unlink,unlinkat,rmdir,link,linkat,fsetxattr"
)
KILLS = int(os.environ.get("KILLS", "8"))
SEED = int(os.environ.get("SEED", "6"))

pytestmark = pytest.mark.e2e


class Product:
    """A small product, and the files of a build of it that nobody disturbed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        manifest = make_product(root)
        generate(root, "release", "word")
        self.command = [sys.executable, "-m", "bundler", "build", "v2.1.0", "--key", str(root / "release.key")]
        self.command += ["--installer", str(manifest.parent / "install"), "--output", str(root / "out"), "--json"]
        repository = Path(__file__).resolve().parents[2]
        self.environment = os.environ | {"SEALIFT_PASSPHRASE": "word", "PYTHONPATH": str(repository)}
        self.environment |= {"PYTHONDONTWRITEBYTECODE": "1", "SOURCE_DATE_EPOCH": "1790000000"}
        self.kit = root / "out/board-v2.1.0"

    def run(self, *before: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*before, *self.command], cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=120
        )

    def files(self) -> dict[str, bytes]:
        paths = (path for path in self.kit.rglob("*") if path.is_file())
        return {str(path.relative_to(self.kit)): path.read_bytes() for path in paths}


def test_killed_at_a_system_call_that_changes_something_it_leaves_nothing_wrong(tmp_path: Path) -> None:
    product = Product(tmp_path)
    trace = tmp_path / "trace"
    done = product.run("strace", "-f", "-qq", "-e", "signal=none", "-e", f"trace={CHANGING}", "-o", str(trace))
    assert done.returncode == 0, done.stderr
    right = product.files()
    # strace counts for each thread by itself, so a call is named by its kind and its number on one thread.
    counts = Counter(re.findall(r"^(\d+) +(\w+)\(", trace.read_text(), re.M))
    most: Counter[str] = Counter()
    for (_, kind), count in counts.items():
        most[kind] = max(most[kind], count)
    points = [(kind, number) for kind, count in sorted(most.items()) for number in range(1, count + 1)]
    assert len(points) > 15
    ends: Counter[int] = Counter()
    for turn, (kind, number) in enumerate(random.Random(SEED).sample(points, min(KILLS, len(points)))):
        sent = "INT" if turn % 4 == 3 else "KILL"
        fault = f"inject={kind}:signal={sent}:when={number}"
        done = product.run("strace", "-f", "-qq", "-e", f"trace={kind}", "-e", fault, "-o", "/dev/null")
        ends[done.returncode] += 1
        assert done.returncode in ((0, 130) if sent == "INT" else (0, -signal.SIGKILL)), (kind, number, done.stderr)
        if product.kit.exists():
            assert product.files() == right, (kind, number)
        again = product.run()
        assert again.returncode == 0, (kind, number, again.stderr)
        assert product.files() == right, (kind, number)
        assert [path.name for path in product.kit.parent.iterdir()] == [product.kit.name], (kind, number)
    assert ends[-signal.SIGKILL] and ends[130]
