"""``make mutation``: runs mutmut on the verifier, as long as it may, and goes on where it stopped the last time.

    python -m tests.mutation.run [MINUTES] [MODULE…]

A copy of the code lies in ``build/mutation``; what was killed stays killed until its function changes. Ends with 1
where a mutant survives that docs/mutation.md does not call harmless, 2 where time ran out before all were tried.
"""

from __future__ import annotations

import json
import os
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
MUTANTS: Final = FOLDER / "mutants"
QUEUE, ANSWERS = FOLDER / "queue", FOLDER / "answers"
PAGE: Final = REPOSITORY / "docs/mutation.md"
# What a hole in would hurt most comes first.
MODULES: Final = (
    "verify", "trust", "roots", "rootfile", "tufroot", "signers", "signature", "sigstorefields", "archive", "frames",
    "lanes", "strictjson", "tarheader", "release", "packing", "digest",
    "keyless", "keylessform", "sigstoreroot", "subject", "beside", "parts", "fields", "problems", "paths",
)  # fmt: skip
COPIED: Final = ("bundler", "installer", "tests", "docs", "manifests", "templates")
# The quick ones. Those that alter thousands of bytes, start programs or draw at random would only take longer.
TESTS: Final = [
    "tests/unit/bundle/test_mutants.py",
    "tests/unit/bundle/test_limits.py",
    "tests/unit/bundle/test_bundle_reading.py",
    "tests/unit/trust/test_thresholds.py",
    "tests/unit/trust/test_requirements.py",
    "tests/keyless/test_form.py",
    "tests/keyless/test_refusals.py",
    "tests/keyless/test_root.py",
    "tests/keyless/test_policy.py",
    "tests/keyless/test_rotation.py",
    "tests/keyless/test_signers.py",
    "tests/unit/bundle/test_lanes.py",
    "tests/mutation/killer.py",
    "tests/unit/trust/test_walking.py",
    "tests/unit/bundle/test_parts.py",
    "tests/unit/trust/test_countersignatures.py",
    "tests/unit/bundler/test_delta.py",
]
DESELECTED: Final = [
    "--deselect=tests/unit/bundle/test_mutants.py::test_refuses_in_words_and_names_no_nothing",  # the killer does
    "--deselect=tests/unit/bundle/test_lanes.py::test_refuses_every_vector_with_the_same_id",  # likewise
    "--deselect=tests/unit/trust/test_walking.py::test_no_root_on_the_media_survives_a_flipped_byte",
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
    keep_answers()
    prepare()
    asked = [mutant for mutant in mutants(modules) if is_asked(mutant)]
    open_ = [mutant for mutant in asked if mutant.code not in KILLED | LATE]
    # Survivors come last: there may be a new test. Before them, what can weaken a check comes first.
    open_.sort(key=lambda mutant: (mutant.code is not None, not mutant.changes_what_is_refused))
    waiting = [mutant.name for mutant in open_]
    if waiting:
        ask(waiting, end)
        keep_answers()
    return report([mutant for mutant in mutants(modules) if is_asked(mutant)])


def prepare() -> None:
    """Copy code, tests and configuration, and make the mutants; mutmut sees by itself which functions have changed."""
    for name in COPIED:
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        if name != "installer":  # there lie the mutants
            shutil.rmtree(MUTANTS / name, ignore_errors=True)
        shutil.copytree(REPOSITORY / name, FOLDER / name, ignore=shutil.ignore_patterns("__pycache__", "corpus"))
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    (FOLDER / "pyproject.toml").write_text(project + CONFIGURATION, encoding="utf-8")
    program = Path(sys.executable).with_name("mutmut")
    run([str(program), "run", "installer.bundle.digest.x*"], FOLDER)


def ask(waiting: list[str], end: float) -> None:
    """Ask these mutants until ``end`` on the monotonic clock. Their results are kept one by one."""
    QUEUE.write_text("".join(f"{name}\n" for name in waiting), encoding="utf-8")
    left = max(1, int(end - time.monotonic()))
    pytest = [sys.executable, "-m", "pytest", "-s", "-q", "-p", "no:cacheprovider", "-p", "tests.mutation.warm"]
    options = ["--rootdir=.", "--hypothesis-seed=0", *DESELECTED]
    run(["timeout", "--signal=KILL", str(left), *pytest, *options, *TESTS], MUTANTS)


def run(command: list[str], folder: Path) -> None:
    """Run a program there; what it says goes into the log."""
    environment = os.environ | {"SEALIFT_MUTANTS": str(QUEUE), "SEALIFT_ANSWERS": str(ANSWERS)}
    with (FOLDER / "log").open("a", encoding="utf-8") as log:
        subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=environment, check=False)


def keep_answers() -> None:
    """Put what the last run found where mutmut keeps it: a change of a function takes it away there."""
    if not ANSWERS.exists():
        return
    found = dict(line.rsplit(" ", 1) for line in ANSWERS.read_text(encoding="utf-8").splitlines())
    for path in (MUTANTS / "installer/bundle").glob("*.py.meta"):
        meta = json.loads(path.read_text(encoding="utf-8"))
        codes = meta["exit_code_by_key"]
        codes.update({name: int(code) for name, code in found.items() if name in codes})
        path.write_text(json.dumps(meta, indent=4), encoding="utf-8")
    ANSWERS.unlink()


def mutants(modules: Iterable[str]) -> list[Mutant]:
    """All mutants of these modules."""
    return [mutant for module in modules for mutant in read(MUTANTS, module)]


def is_asked(mutant: Mutant) -> bool:
    """What a refusal says to people is not what this looks for."""
    return not mutant.changes_words_alone


def harmless() -> list[re.Pattern[str]]:
    """What docs/mutation.md lists, as place and change, a reason beside each; ``…`` there stands for anything."""
    rows = re.findall(r"^\| `([\w.…]+)` \| `(.+?)` \| \S.+ \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [re.compile(".*".join(map(re.escape, f"{place}: {change}".split("…")))) for place, change in rows]


def report(asked: list[Mutant]) -> int:
    """Print the figures and every survivor that has no excuse; the exit code."""
    excused = harmless()
    survivors = [mutant for mutant in asked if mutant.code == SURVIVED or mutant.code in UNTESTED]
    unexplained = [
        mutant
        for mutant in survivors
        if not any(rule.fullmatch(f"{mutant.place}: {mutant.change}".replace("|", r"\|")) for rule in excused)
    ]
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
