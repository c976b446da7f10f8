"""``make mutation``: runs mutmut on the verifier, as long as it may, and goes on where it stopped the last time.

    python -m tests.mutation.run [MINUTES] [MODULE…]

A copy of the code lies in ``build/mutation``; what was killed stays killed until its function changes. Ends with 1
where a mutant survives that docs/mutation.md does not call harmless, 2 where time ran out before all were tried.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tests.mutation.mutants import KILLED, LATE, SURVIVED, UNTESTED, Mutant, read

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = REPOSITORY / "build/mutation"
PAGE: Final = REPOSITORY / "docs/mutation.md"
# What a hole in would hurt most comes first.
MODULES: Final = (
    "verify", "trust", "roots", "rootfile", "tufroot", "signers", "signature", "sigstorefields", "archive", "frames",
    "lanes", "strictjson", "tarheader", "release", "packing", "digest",
)  # fmt: skip
NEEDED: Final = (
    "bundler",
    "installer",
    "tests/__init__.py",
    "tests/conftest.py",
    "tests/unit/__init__.py",
    "tests/vectors",
    "tests/unit/bundle/asking.py",
    "tests/unit/bundler/layouts.py",
    "tests/unit/trust/keys.py",
    "tests/unit/trust/roots.py",
    "tests/mutation/__init__.py",
)
# The quick ones. Those that alter thousands of bytes, start programs or draw at random would only take longer.
TESTS: Final = [
    "tests/unit/bundle/test_mutants.py",
    "tests/unit/bundle/test_limits.py",
    "tests/unit/bundle/test_bundle_reading.py",
    "tests/unit/trust/test_thresholds.py",
    "tests/unit/trust/test_requirements.py",
    "tests/unit/trust/test_walking.py",
    "tests/mutation/killer.py",
]
OUTCOMES: Final = {"killed": "killed", "late": "ran out of time", "survived": "survived", "left": "not tried"}
CONFIGURATION: Final = f"""
[tool.mutmut]
source_paths = ["installer/bundle"]
only_mutate = {[f"installer/bundle/{module}.py" for module in MODULES]}
also_copy = ["bundler", "installer"]
pytest_add_cli_args_test_selection = {TESTS}
timeout_multiplier = 4
timeout_constant = 2
pytest_add_cli_args = ["-p", "no:cacheprovider", "--hypothesis-seed=0"]
"""


def main(words: list[str]) -> int:
    """Run what ``words`` ask for; the exit code."""
    minutes = int(words[0]) if words else 60
    modules = words[1:] or list(MODULES)
    prepare()
    end = time.monotonic() + 60 * minutes
    mutmut(["installer.bundle.digest.*"], end)  # makes the mutants of what has changed, and tries the smallest module
    for weakening in (True, False):
        for module in modules:
            waiting = [mutant.name for mutant in untried([module]) if mutant.changes_what_is_refused is weakening]
            if waiting and time.monotonic() < end:
                mutmut(waiting, end)
    return report([mutant for mutant in mutants(modules) if is_asked(mutant)])


def prepare() -> None:
    """Copy code, tests and configuration; mutmut sees by itself which functions have changed."""
    for name in (*NEEDED, *TESTS):
        source, target = REPOSITORY / name, FOLDER / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (FOLDER / "pyproject.toml").write_text(project + CONFIGURATION, encoding="utf-8")


def mutmut(names: list[str], end: float) -> None:
    """Try these mutants until ``end`` on the monotonic clock. Their results are kept one by one."""
    program = Path(sys.executable).with_name("mutmut")
    command = ["timeout", "--signal=INT", str(max(1, int(end - time.monotonic()))), str(program), "run", *names]
    with (FOLDER / "log").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=FOLDER, stdout=log, stderr=log, check=False)


def mutants(modules: Iterable[str]) -> list[Mutant]:
    """All mutants of these modules."""
    return [mutant for module in modules for mutant in read(FOLDER / "mutants", module)]


def untried(modules: Iterable[str]) -> list[Mutant]:
    """Those to try now; survivors are tried again, for there may be a new test."""
    return [mutant for mutant in mutants(modules) if is_asked(mutant) and mutant.code not in KILLED | LATE]


def is_asked(mutant: Mutant) -> bool:
    """What a refusal says to people is not what this looks for."""
    return not mutant.changes_words_alone


def harmless() -> set[tuple[str, str]]:
    """What docs/mutation.md lists, as place and change; a reason stands beside each."""
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| \S.+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return {(place, change.replace(r"\|", "|")) for place, change in rows}


def report(asked: list[Mutant]) -> int:
    """Print the figures and every survivor that has no excuse; the exit code."""
    excused = harmless()
    survivors = [mutant for mutant in asked if mutant.code == SURVIVED or mutant.code in UNTESTED]
    unexplained = [mutant for mutant in survivors if (mutant.place, mutant.change) not in excused]
    left = [mutant for mutant in asked if mutant.code is None]
    for module in dict.fromkeys(mutant.place.partition(".")[0] for mutant in asked):
        count = Counter(
            "left" if m.code is None else "survived" if m in survivors else "late" if m.code in LATE else "killed"
            for m in asked
            if m.place.partition(".")[0] == module
        )
        figures = [f"{count[what]:>4} {word}" for what, word in OUTCOMES.items()]
        print(f"{module:<11}", *figures)
    for mutant in unexplained:
        print(f"{mutant.place}: {mutant.change}{'  (no test)' if mutant.code in UNTESTED else ''}")
    if unexplained:
        return 1
    return 2 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
