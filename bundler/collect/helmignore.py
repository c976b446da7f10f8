"""What ``helm package`` leaves out (Helm 3 and 4, ``pkg/ignore``): gitignore's looks with rules of its own. Pure.

A pattern without a slash looks at the last name only, one that begins with a slash at the whole path, ``**`` is an
error, and after ``!`` whatever does *not* match is left out. ``templates/.?*`` is always left out.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Self

from installer.errors import SealiftError

NAME: Final = ".helmignore"
_ALWAYS: Final = "templates/.?*"
_TOKEN: Final = re.compile(
    r"\*|\?|\[(?P<not>\^?)(?P<set>(?:\\.|[^\]\\])+)\]|\\(?P<plain>.)|(?P<other>[^\[\\])", re.DOTALL
)


@dataclass(frozen=True)
class Rule:
    """One line. ``anchored``: the whole path counts, not its last name."""

    pattern: re.Pattern[str]
    negated: bool
    folders_only: bool
    anchored: bool

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line that is neither empty nor a comment. Raises ``ValueError`` for what Helm refuses."""
        if "**" in line:
            raise ValueError("** is not supported")
        text = line.removeprefix("!")
        pattern = _translated(text.removesuffix("/").removeprefix("/"))
        return cls(pattern, line.startswith("!"), text.endswith("/"), "/" in text.removesuffix("/"))

    def matches(self, path: str) -> bool:
        """Whether the pattern fits ``path``."""
        return self.pattern.fullmatch(path if self.anchored else path.rpartition("/")[2]) is not None


def rules(text: str, what: str) -> tuple[Rule, ...]:
    """The rules of a ``.helmignore``. Raises ``chart-invalid`` (2)."""
    lines = [line.strip() for line in text.splitlines()]
    try:
        return tuple(Rule.parse(line) for line in [*lines, _ALWAYS] if line and not line.startswith("#"))
    except ValueError as error:
        raise SealiftError(
            "chart-invalid", f"{NAME} of {what}: {error}", hint="write it as helm package reads it"
        ) from error


def ignored(path: str, is_folder: bool, by: tuple[Rule, ...]) -> bool:
    """Whether ``path`` (relative, with slashes) is left out; for a folder, with all below it."""
    for rule in by:
        if rule.negated:
            if (rule.folders_only and not is_folder) or not rule.matches(path):
                return True
        elif (is_folder or not rule.folders_only) and rule.matches(path):
            return True
    return False


def _translated(glob: str) -> re.Pattern[str]:
    """Go's ``filepath.Match`` as a regular expression: nothing but a slash itself matches one."""
    parts = []
    position = 0
    while position < len(glob):
        token = _TOKEN.match(glob, position)
        if token is None:
            raise ValueError(f"cannot read the pattern {glob[:80]}")
        position = token.end()
        parts.append(_part(token))
    try:
        return re.compile("".join(parts), re.DOTALL)
    except re.error as error:  # a range that ends before it begins; helm takes it, and it matches nothing
        raise ValueError(f"cannot read the pattern {glob[:80]}: {error.msg}") from error


def _part(token: re.Match[str]) -> str:
    if token[0] == "*":
        return "[^/]*"
    if token[0] == "?":
        return "[^/]"
    if token["set"] is not None:
        characters = re.sub(r"\\?([^\w\\-])|\\(.)", lambda one: re.escape(one[1] or one[2]), token["set"])
        return f"(?!/)[{token['not']}{characters}]"
    return re.escape(token["plain"] or token["other"])
