"""The table as JSON and Markdown, each row with its day, load, machine and versions."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.measure import run
from tests.bench.place import REPOSITORY
from tests.bench.row import Goal, Row, Settings

BEGIN: Final = "<!-- figures -->"
END: Final = "<!-- /figures -->"
_VERSIONS: Final = (
    ("bundle", ["bundle", "--version"]),
    ("skopeo", ["skopeo", "--version"]),
    ("zstd", ["zstd", "--version"]),
    ("tar", ["tar", "--version"]),
    ("sha256sum", ["sha256sum", "--version"]),
    ("openssl", ["openssl", "version"]),
    ("registry", ["docker-registry", "--version"]),
)


@dataclass(frozen=True)
class Measured:
    """A row as it stands in ``performance.json``: the name that ``ROWS`` takes, when and under what it was measured."""

    name: str
    row: Row
    measured: dict[str, str]
    machine: dict[str, str]


def moment(settings: Settings) -> dict[str, str]:
    """When a row was begun, on which commit, with what else to do, and how much of it."""
    commit = run(["git", "describe", "--always", "--exclude=*"], cwd=REPOSITORY, fails=True).output.strip()
    # What earlier rows have written to docs/ changes nothing that is measured.
    changed = ["git", "status", "--porcelain", "--", "bundler", "installer", "tests", "pyproject.toml"]
    commit += "-dirty" if commit and run(changed, cwd=REPOSITORY, fails=True).output.strip() else ""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "load": f"{os.getloadavg()[0]:.1f}",
        "sha256": f"{_hashing():.0f} MB/s",
        "commit": commit,
        "scale": f"{settings.scale:g}",
        "runs": str(settings.runs),
    }


def _hashing() -> float:
    """MB that one core hashes in a second: most of what is measured is that."""
    data, found = bytes(16_000_000), 0.0
    for _ in range(3):
        began = time.perf_counter()
        hashlib.sha256(data)
        found = max(found, 16 / (time.perf_counter() - began))
    return found


def machine(bundle: str) -> dict[str, str]:
    """What it runs on, and the versions of both sides."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    instructions = "with" if re.search(r"\bsha_ni\b|\bsha2\b", Path("/proc/cpuinfo").read_text()) else "without"
    name = model[1].strip() if model else platform.machine()
    found = {
        "processor": f"{len(os.sched_getaffinity(0))} cores, {name}, {instructions} SHA instructions",
        "memory": f"{pages / 2**30:.0f} GiB",
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, Linux {platform.release()}",
        "python": platform.python_version(),
    }
    for name, (program, *arguments) in _VERSIONS:
        said = run([bundle if name == "bundle" else program, *arguments]).output
        found[name] = next((word for word in re.split(r"[\s,]+", said) if re.match(r"v?\d+\.\d", word)), said.strip())
    return found


def read(folder: Path) -> list[Measured]:
    """The rows of ``performance.json`` in ``folder``; none where there is no such file, or an older kind of it."""
    try:
        value = json.loads((folder / "performance.json").read_text())
    except FileNotFoundError:
        return []
    return [_measured(one) for one in value["rows"] if "measured" in one]


def _measured(value: dict[str, Any]) -> Measured:
    goals = tuple(Goal(one["what"], one["value"], one["limit"], one["unit"]) for one in value["goals"])
    title, ours, beside, note, runs, other = (
        value[one] for one in ("title", "ours", "beside", "note", "runs", "other")
    )
    row = Row(title, ours, beside, goals, note, runs, other)
    return Measured(value["name"], row, value["measured"], value["machine"])


def merged(old: Sequence[Measured], new: Sequence[Measured], names: Sequence[str]) -> list[Measured]:
    """The table in the order of ``names``: what was measured anew stands in place of the older rows of that name."""
    again = {one.name for one in new}
    rows = [one for one in old if one.name not in again] + list(new)
    return sorted((one for one in rows if one.name in names), key=lambda one: names.index(one.name))


def as_json(table: Sequence[Measured]) -> dict[str, Any]:
    """Everything that was measured."""
    rows = []
    for one in table:
        value = asdict(one.row)
        value["goals"] = [{**asdict(goal), "met": goal.met} for goal in one.row.goals]
        rows.append({"name": one.name, **value, "measured": one.measured, "machine": one.machine})
    return {"rows": rows}


def figure(value: float, unit: str) -> str:
    """A value with its unit; ratios have none."""
    if unit == "B":
        return f"{value:,.0f} bytes"
    digits = 0 if unit == "MB" else 2 if value >= 0.095 else 3
    return f"{value:.{digits}f}{' ' + unit if unit else ''}"


def _line(one: Measured, goal: Goal, first: bool) -> str:
    limit = "" if goal.limit is None else f"≤ {figure(goal.limit, goal.unit)}"
    verdict = "" if goal.limit is None else "yes" if goal.met else "**missed**"
    title, name = (one.row.title, f"`{one.name}`") if first else ("", "")
    return f"| {name} | {title} | {goal.what} | {figure(goal.value, goal.unit)} | {limit} | {verdict} |"


def missed(table: Sequence[Measured]) -> list[str]:
    """The goals that were not reached."""
    return [
        f"{one.row.title}: {goal.what} {figure(goal.value, goal.unit)}, not {figure(goal.limit or 0, goal.unit)}"
        for one in table
        for goal in one.row.goals
        if not goal.met
    ]


def as_markdown(table: Sequence[Measured], names: Sequence[str]) -> str:
    """The part of the page that a run writes."""
    absent = [name for name in names if name not in {one.name for one in table}]
    lost = missed(table)
    told = [f"Missed: {'; '.join(lost)}." if lost else "Every goal was reached."]
    told += [f"Not measured: {', '.join(absent)}."] if absent else []
    lines = [
        " ".join(told),
        "",
        "![ours beside the other way](performance.svg)",
        "",
        "| row | what | figure | measured | goal | reached |",
        "|---|---|---|---|---|---|",
        *(_line(one, goal, not number) for one in table for number, goal in enumerate(one.row.goals)),
        "",
        "A figure without a unit is ours divided by what stands beside it, the median of pairs. What was run:",
        "",
        "| row | ours | beside | measured |",
        "|---|---|---|---|",
        *_commands(table),
        "",
        *_machines(table),
    ]
    return "\n".join(lines)


def _commands(table: Sequence[Measured]) -> list[str]:
    """A line for each row: both commands, and the circumstances."""
    return [
        f"| {one.row.title} | {_code(one.row.ours)} | {_code(one.row.beside)} | "
        + ", ".join(f"{name} {value}" for name, value in one.measured.items())
        + f"{'; ' + one.row.note if one.row.note else ''} |"
        for one in table
    ]


def _machines(table: Sequence[Measured]) -> list[str]:
    """A line for each machine, set of versions and the rows measured on it."""
    found: dict[str, list[str]] = {}
    for one in table:
        found.setdefault("; ".join(f"{name} {value}" for name, value in one.machine.items()), []).append(one.name)
    if len(found) == 1:
        return [f"Where: {where}." for where in found]
    return [f"Where ({', '.join(dict.fromkeys(names))}): {where}.\n" for where, names in found.items()]


def _code(command: str) -> str:
    return f"`{command.replace('|', chr(92) + '|')}`" if command else ""


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of ``page``."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def write(folder: Path, table: Sequence[Measured], names: Sequence[str]) -> None:
    """Write ``performance.json`` and the figures of ``performance.md`` in ``folder``."""
    (folder / "performance.json").write_text(json.dumps(as_json(table), indent=1, ensure_ascii=False) + "\n")
    put_into(folder / "performance.md", as_markdown(table, names))
