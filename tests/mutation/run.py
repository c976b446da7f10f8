"""``make mutation``: runs mutmut on the verifier, as long as it may, and goes on where it stopped the last time.

    python -m tests.mutation.run [MINUTES] [MODULE…]

A copy of the code lies in ``build/mutation``; what was killed stays killed until its function changes. Ends with 1
where a mutant survives that docs/mutation.md does not call harmless, 2 where time ran out before all were tried.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from tests.mutation.mutants import LATE, SURVIVED, UNTESTED, Mutant, read
from tests.mutation.table import KILLERS, MODULES, ON_LANES, TESTS

REPOSITORY: Final = Path(__file__).resolve().parents[2]
FOLDER: Final = REPOSITORY / "build/mutation"
MUTANTS: Final = FOLDER / "mutants"
QUEUE, ANSWERS = FOLDER / "queue", FOLDER / "answers"
KNOWN: Final = FOLDER / "known"
"""What became of each mutant, by its key, which changes with its function alone."""
PAGE: Final = REPOSITORY / "docs/mutation.md"
COPIED: Final = ("bundler", "installer", "tests", "docs", "manifests", "templates")
DESELECTED: Final = [
    "--deselect=tests/unit/bundle/test_mutants.py::test_refuses_in_words_and_names_no_nothing",  # the killer does
    "--deselect=tests/unit/bundle/test_lanes.py::test_refuses_every_vector_with_the_same_id",  # likewise
    "--deselect=tests/unit/bundle/test_ahead.py::test_refuses_every_vector_with_the_same_id",
    "--deselect=tests/unit/trust/test_walking.py::test_no_root_on_the_media_survives_a_flipped_byte",
    "--deselect=tests/unit/trust/test_walking.py::test_whatever_stands_on_the_media_only_signed_roots_are_reached",
    "--deselect=tests/keyless/test_form.py::test_whatever_stands_in_a_place_is_read_or_refused_by_id",
    "--deselect=tests/unit/bundle/test_parts.py::test_no_byte_of_the_note_can_bring_in_anything_else",
]
FIRST: Final = "tests/unit/bundle/test_mutants.py::test_reads_the_one_spelling_of_a_digest"
"""What mutmut itself runs: it makes the mutants, which are then asked by tests.mutation.warm."""
OUTCOMES: Final = {"killed": "killed", "late": "ran out of time", "survived": "survived", "left": "not tried"}
CONFIGURATION: Final = f"""
[tool.mutmut]
source_paths = ["installer/bundle"]
only_mutate = {[f"installer/bundle/{module}.py" for module in MODULES]}
also_copy = {list(COPIED)}
pytest_add_cli_args_test_selection = ["{FIRST}"]
pytest_add_cli_args = ["-p", "no:cacheprovider"]
"""


def main(words: list[str]) -> int:
    """Run what ``words`` ask for; the exit code."""
    minutes = int(words[0]) if words else 60
    modules = words[1:] or list(MODULES)
    end = time.monotonic() + 60 * minutes
    keep_answers(list(MODULES))  # of a run that was stopped
    prepare()
    found = mutants(modules)
    for wide in (False, True):  # first the tests that are about the module; survivors of those, all tests
        open_ = [mutant for mutant in found if mutant.code is None and not wide] + unexplained(found)
        # Survivors come last: there may be a new test. Before them, what can weaken a check comes first.
        open_.sort(key=lambda mutant: (mutant.code is not None, not mutant.changes_what_is_refused))
        if open_ and time.monotonic() < end:
            ask(open_, end, wide=wide)
            keep_answers(modules)
            judge(found)
    return report(found)


def prepare() -> None:
    """Copy code, tests and configuration, and make the mutants."""
    for name in COPIED:
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        if name != "installer":  # there lie the mutants
            shutil.rmtree(MUTANTS / name, ignore_errors=True)
        shutil.copytree(REPOSITORY / name, FOLDER / name, ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (FOLDER / "pyproject.toml").write_text(project + CONFIGURATION, encoding="utf-8")
    program = Path(sys.executable).with_name("mutmut")
    run([str(program), "run", "installer.bundle.digest.xǁDigestǁof*"], FOLDER)


def ask(waiting: list[Mutant], end: float, *, wide: bool) -> None:
    """Ask these mutants until ``end`` on the monotonic clock, with ``wide`` of all tests. Each result is kept."""
    QUEUE.write_text("".join(f"{mutant.name}\n" for mutant in waiting), encoding="utf-8")
    left = max(1, int(end - time.monotonic()))
    modules = {mutant.module for mutant in waiting}
    tests = [test for test in TESTS if wide or any(test in KILLERS[module] for module in modules)]
    lanes = [] if wide or "lanes" in modules else [f"--deselect={ON_LANES}"]
    pytest = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-p", "tests.mutation.warm"]
    options = ["--rootdir=.", "--hypothesis-seed=0", *DESELECTED, *lanes]
    run(["timeout", "--signal=KILL", str(left), *pytest, *options, *tests], MUTANTS, {"SEALIFT_WIDE": str(int(wide))})


def run(command: list[str], folder: Path, more: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a program there; what it says goes into the log."""
    environment = os.environ | {"SEALIFT_MUTANTS": str(QUEUE), "SEALIFT_ANSWERS": str(ANSWERS)} | dict(more)
    with (FOLDER / "log").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=environment, check=False)


def keep_answers(modules: Iterable[str]) -> None:
    """Add what the last run found to what is known: by key, as mutmut forgets where a number or a setting changes."""
    if not ANSWERS.exists():
        return
    found = dict(line.rsplit(" ", 1) for line in ANSWERS.read_text(encoding="utf-8").splitlines())
    keys = {mutant.name: mutant.key for module in modules for mutant in read(MUTANTS, module)}
    with KNOWN.open("a", encoding="utf-8") as known:
        known.writelines(f"{keys[name]} {code}\n" for name, code in found.items() if name in keys)
    ANSWERS.unlink()


def mutants(modules: Iterable[str]) -> list[Mutant]:
    """All mutants of these modules but those of words alone: what a refusal says to people is not looked for."""
    every = (mutant for module in modules for mutant in read(MUTANTS, module))
    found = [mutant for mutant in every if not mutant.changes_words_alone]
    judge(found)
    return found


def judge(found: Iterable[Mutant]) -> None:
    """Set the codes of those that are known."""
    lines = KNOWN.read_text(encoding="utf-8").splitlines() if KNOWN.exists() else []
    known = {key: int(code) for key, code in (line.split() for line in lines)}
    for mutant in found:
        mutant.code = known.get(mutant.key)


def harmless() -> dict[str, re.Pattern[str]]:
    """What docs/mutation.md lists, as place and change, a reason beside each; ``…`` there stands for anything."""
    rows = re.findall(r"^\| `([\w.…]+)` \| `(.+?)` \| \S.+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    told = (f"{place}: {change}" for place, change in rows)
    return {row: re.compile(".*".join(map(re.escape, row.split("…")))) for row in told}


def survived(mutant: Mutant) -> bool:
    """Whether no test failed, or none calls the function."""
    return mutant.code == SURVIVED or mutant.code in UNTESTED


def unexplained(found: Iterable[Mutant]) -> list[Mutant]:
    """The survivors of which docs/mutation.md does not say why they are harmless."""
    rules = harmless().values()
    return [mutant for mutant in found if survived(mutant) and not any(rule.fullmatch(mutant.row) for rule in rules)]


def report(asked: list[Mutant]) -> int:
    """Print the figures, every survivor that has no excuse, and excuses without a survivor; the exit code."""
    left = [mutant for mutant in asked if mutant.code is None]
    modules = list(dict.fromkeys(mutant.module for mutant in asked))
    for module in modules:
        count = Counter(
            "left" if m.code is None else "survived" if survived(m) else "late" if m.code in LATE else "killed"
            for m in asked
            if m.module == module
        )
        figures = [f"{count[what]:>4} {word}" for what, word in OUTCOMES.items()]
        print(f"{module:<14}", *figures)
    for mutant in (bad := unexplained(asked)):
        print(f"{mutant.row}{'  (no test)' if mutant.code in UNTESTED else ''}")
    rows = [mutant.row for mutant in asked if survived(mutant) or mutant.code is None]
    for row, rule in harmless().items():
        if row.partition(".")[0] in modules and not any(map(rule.fullmatch, rows)):
            print(f"no survivor any more: {row}")
    if bad:
        return 1
    return 2 if left else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
