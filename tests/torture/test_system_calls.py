"""Killed at a system call that changes the disk, as `strace` sees it, without a change to the program."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from installer.state.state import load_state
from installer.trust.store import provision
from tests.contract import program
from tests.contract.editions import Vendor
from tests.torture.rest import served, unrest

SAMPLE = 20
SEED = 20261121
CALLS = (
    "write,pwrite64,fsync,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,ftruncate,link,linkat,fchmod"
)
_CALL = re.compile(r"^\d+ +(\w+)\(")


class Traced:
    """A site where 1.0.0 serves and 1.1.0 is installed, again and again from the same files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = program.settle(folder / "site")
        self._vendor = Vendor(folder / "vendor")
        provision(self.state, *self._vendor.root())
        assert self.install("1.0.0") == 0
        subprocess.run(["cp", "-a", folder / "site", folder / "kept"], check=True)

    def restore(self) -> None:
        subprocess.run(["rm", "-rf", self.folder / "site"], check=True)
        subprocess.run(["cp", "-a", self.folder / "kept", self.folder / "site"], check=True)

    def install(self, version: str, tracer: Sequence[str] = ()) -> int:
        """Exit code, or minus the signal."""
        words = [sys.executable, "-B", "-m", "tests.contract.program", "install", str(self.state)]
        done = subprocess.run(
            [*tracer, *words, str(self._vendor.kit(version))],
            cwd=Path(__file__).resolve().parents[2],
            env=os.environ | {"PYTHONHASHSEED": "0"},
            capture_output=True,
            check=False,
        )
        return done.returncode

    def calls(self) -> list[tuple[str, int]]:
        """Every mutating call of the upgrade, as the n-th of its kind."""
        log = self.folder / "calls"
        assert self.install("1.1.0", ("strace", "-f", "-o", str(log), "-e", f"trace={CALLS}")) == 0
        seen: Counter[str] = Counter()
        found = []
        for line in log.read_text().splitlines():
            if (match := _CALL.match(line)) is not None:
                seen[match[1]] += 1
                found.append((match[1], seen[match[1]]))
        return found


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Traced]:
    yield Traced(tmp_path_factory.mktemp("traced"))


def test_killed_at_any_system_call_the_next_run_ends_as_if_nobody_had_killed_it(traced: Traced) -> None:
    calls = traced.calls()
    assert len(calls) > 150
    struck = 0
    for call, number in random.Random(SEED).sample(calls, SAMPLE):
        traced.restore()
        inject = f"inject={call}:signal=SIGKILL:when={number}"
        code = traced.install("1.1.0", ("strace", "-f", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject))
        assert code in (-9, 137, 0), (call, number, code)  # threads can move a call a little beyond the last one
        struck += code != 0
        assert served(traced.state, "board") in ({"1.0.0"}, {"1.1.0"}), (call, number)
        assert traced.install("1.1.0") == 0
        assert unrest(traced.state) == [], (call, number)
        assert load_state(traced.state).products["board"].active == "green"
    assert struck >= SAMPLE - 2
