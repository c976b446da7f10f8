"""``make fuzz``: each target in a process of its own, one after the other, in a time box.

The kept corpus is only read; what a run learns goes to a folder of its own. A finding ends the run with another code
than 0 and leaves its input there.

    python -m tests.fuzz.fuzz [--seconds N] [--target NAME] [--found DIR]      N seconds for all of them
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.targets import TARGETS

CORPUS = Path(__file__).with_name("corpus")
LONGEST = {"tail": 16384, "release": 4096, "signed": 4096, "root": 8192}
CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")


def main() -> int:
    """Fuzz all targets, or one; 0 when there was no finding."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--target", choices=sorted(TARGETS))
    parser.add_argument(
        "--found", type=Path, default=Path(os.environ.get("SEALIFT_CACHE") or f"{CACHE}/sealift") / "fuzz"
    )
    options = parser.parse_args()
    names = [options.target] if options.target else sorted(TARGETS)
    return max(fuzz(name, max(options.seconds // len(names), 1), options.found) for name in names)


def fuzz(name: str, seconds: int, found: Path) -> int:
    """One target for so many seconds; prints one line, and everything about a finding."""
    learnt = found / "corpus" / name
    learnt.mkdir(parents=True, exist_ok=True)
    arguments = [
        f"-max_total_time={seconds}",
        f"-max_len={LONGEST.get(name, 2048)}",
        f"-artifact_prefix={found}/{name}-",
        "-timeout=10",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.run", name, *arguments, str(learnt), str(CORPUS / name)]
    began = time.monotonic()
    done = subprocess.run(command, capture_output=True, text=True, check=False, errors="replace")
    tries = re.findall(r"number_of_executed_units:\s*(\d+)", done.stderr)
    edges = re.findall(r"cov: (\d+)", done.stderr)
    outcome = f"a finding, see {found}" if done.returncode else "no finding"
    spent = time.monotonic() - began
    print(
        f"{name}: {tries[-1] if tries else '?'} inputs in {spent:.0f} s, {edges[-1] if edges else '?'} edges, {outcome}"
    )
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-8000:], sep="\n")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
