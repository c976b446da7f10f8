"""The table as JSON and Markdown, with the machine and the versions that it was measured with."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from tests.bench.measure import run
from tests.bench.rows import Goal, Row, Settings

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


def machine(bundle: str) -> dict[str, str]:
    """What it runs on, and the versions of both sides."""
    model = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "processor": f"{len(os.sched_getaffinity(0))} cores, {model[1].strip() if model else platform.machine()}",
        "memory": f"{pages / 2**30:.0f} GiB",
        "load": " ".join(f"{value:.1f}" for value in os.getloadavg()),
        "system": f"{platform.freedesktop_os_release().get('PRETTY_NAME', '')}, Linux {platform.release()}",
        "python": platform.python_version(),
    }
    for name, (program, *arguments) in _VERSIONS:
        said = run([bundle if name == "bundle" else program, *arguments]).output
        found[name] = next((word for word in re.split(r"[\s,]+", said) if re.match(r"v?\d+\.\d", word)), said.strip())
    return found


def as_json(rows: Sequence[Row], settings: Settings, where: dict[str, str]) -> dict[str, Any]:
    """Everything that was measured."""
    table = [{**asdict(row), "goals": [{**asdict(goal), "met": goal.met} for goal in row.goals]} for row in rows]
    return {"machine": where, "settings": asdict(settings), "rows": table}


def figure(value: float, unit: str) -> str:
    """A value with its unit; ratios have none."""
    if unit == "B":
        return f"{value:,.0f} bytes"
    digits = 0 if unit == "MB" else 2 if value >= 0.095 else 3
    return f"{value:.{digits}f}{' ' + unit if unit else ''}"


def _line(row: Row, goal: Goal, first: bool) -> str:
    limit = "" if goal.limit is None else f"≤ {figure(goal.limit, goal.unit)}"
    verdict = "" if goal.limit is None else "yes" if goal.met else "**missed**"
    return f"| {row.title if first else ''} | {goal.what} | {figure(goal.value, goal.unit)} | {limit} | {verdict} |"


def as_markdown(rows: Sequence[Row], settings: Settings, where: dict[str, str]) -> str:
    """The part of the page that a run writes."""
    missed = [f"{row.title}: {goal.what}" for row in rows for goal in row.goals if not goal.met]
    told = f"Missed: {'; '.join(missed)}." if missed else "Every goal was reached."
    lines = [
        f"Measured at scale {settings.scale:g}, medians of {settings.runs} pairs. {told}",
        "",
        "![ours beside the stock tools](performance.svg)",
        "",
        "| what | figure | measured | goal | reached |",
        "|---|---|---|---|---|",
        *(_line(row, goal, not number) for row in rows for number, goal in enumerate(row.goals)),
        "",
        "A figure without a unit is ours divided by what stands beside it. What was run:",
        "",
        "| what | ours | beside |",
        "|---|---|---|",
        *(
            f"| {row.title} | {_code(row.ours)} | {_code(row.beside)} |{' ' + row.note if row.note else ''}"
            for row in rows
        ),
        "",
        "Where: " + "; ".join(f"{name} {value}" for name, value in where.items()) + ".",
    ]
    return "\n".join(lines)


def _code(command: str) -> str:
    return f"`{command.replace('|', chr(92) + '|')}`" if command else ""


def put_into(page: Path, text: str) -> None:
    """Replace what stands between the marks of ``page``."""
    before, _, rest = page.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")


def write(folder: Path, rows: Sequence[Row], settings: Settings, where: dict[str, str]) -> None:
    """Write ``performance.json`` and the figures of ``performance.md`` in ``folder``."""
    value = as_json(rows, settings, where)
    (folder / "performance.json").write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n")
    put_into(folder / "performance.md", as_markdown(rows, settings, where))
