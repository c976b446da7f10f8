"""The product's changelog: second-level headings are versions (Keep a Changelog). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bundler.manifest.version import Version
from installer.errors import SealiftError

UNRELEASED: Final = "Unreleased"
_HEADING: Final = re.compile(
    r"^##[ \t]+\[?(?:v?(?P<version>\d+\.\d+\.\d+[0-9A-Za-z.-]*)|(?P<unreleased>unreleased))\]?(?P<rest>.*)$",
    re.IGNORECASE,
)
_DATE: Final = re.compile(r"\b\d{4}-\d\d-\d\d\b")


@dataclass(frozen=True)
class Section:
    """What one version brings. ``date`` is ``YYYY-MM-DD`` or None; ``line`` counts from 1."""

    version: str
    date: str | None
    text: str
    line: int


def sections(changelog: str) -> tuple[Section, ...]:
    """The sections of a changelog in the order in which they stand."""
    found: list[tuple[int, re.Match[str]]] = []
    lines = changelog.splitlines()
    for number, line in enumerate(lines):
        if match := _HEADING.match(line):
            found.append((number, match))
    ends = [number for number, _ in found[1:]] + [len(lines)] * bool(found)
    return tuple(
        _section(match, lines[number + 1 : end], number + 1) for (number, match), end in zip(found, ends, strict=True)
    )


def section_for(version: Version, changelog: str, name: str) -> Section:
    """The section of ``version``; a pre-release may use that of its final version, or Unreleased.

    ``name`` is the changelog's name in messages. Raises ``changelog-section-missing`` (2).
    """
    known = {section.version: section for section in sections(changelog)}
    wanted = [version.text, version.core, UNRELEASED] if version.candidate else [version.text]
    section = next((known[name] for name in wanted if name in known), None)
    if section is None:
        raise SealiftError(
            "changelog-section-missing",
            f"{name} has no section for {version}" + (f" (it has {', '.join(list(known)[:5])})" if known else ""),
            hint=f"add a section that begins with: ## [{version.core}] - YYYY-MM-DD",
        )
    if not section.text:
        raise SealiftError(
            "changelog-section-missing",
            f"the section of {section.version} in {name} is empty (line {section.line})",
            hint="say what is new, what is fixed, and what breaks",
        )
    return section


def _section(match: re.Match[str], lines: list[str], number: int) -> Section:
    date = _DATE.search(match["rest"])
    return Section(match["version"] or UNRELEASED, date[0] if date else None, "\n".join(lines).strip(), number)
