"""The table of errors: one place, documented, and used."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from installer.errors import ERRORS, ExitCode, SealiftError

ROOT = Path(__file__).resolve().parents[2]


def test_every_id_is_documented_with_its_code() -> None:
    page = (ROOT / "docs/errors.md").read_text()
    rows = re.findall(r"^\| (\d+) \| ([a-z-]+) \|[^|]*\|$", page, re.MULTILINE)
    sections = re.findall(r"^### (\d+) ([a-z-]+)\n\n((?:- `[a-z0-9-]+`\n)+)", page, re.MULTILINE)
    documented = {name: int(code) for code, _, ids in sections for name in re.findall(r"`([a-z0-9-]+)`", ids)}
    assert documented == {name: int(code) for name, code in ERRORS.items()}
    assert {int(code): label for code, label in rows} == {int(code): code.label for code in ExitCode}
    assert {(code, label) for code, label, _ in sections} <= set(rows)


def test_every_id_is_raised_somewhere() -> None:
    sources = "".join(
        path.read_text()
        for folder in ("installer", "bundler")
        for path in (ROOT / folder).rglob("*.py")
        if path.name != "errors.py"
    ) + "".join(path.read_text() for path in (ROOT / "bundler").rglob("*.sh"))
    unused = [name for name in ERRORS if f'"{name}"' not in sources]
    assert unused == []


def test_an_error_carries_what_json_promises() -> None:
    value = SealiftError("locked", "another run holds the lock", hint="wait").as_json()
    assert value == {
        "code": 8,
        "name": "locked",
        "id": "locked",
        "message": "another run holds the lock",
        "hint": "wait",
    }


def test_every_refusal_has_a_hint() -> None:
    """Its own, or the usual one of its exit code."""
    without = []
    for path in [path for folder in ("installer", "bundler") for path in (ROOT / folder).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "SealiftError":
                own = any(keyword.arg == "hint" for keyword in node.keywords)
                first = node.args[0]
                if not own and not (isinstance(first, ast.Constant) and SealiftError(str(first.value), "x").hint):
                    without.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert without == []
