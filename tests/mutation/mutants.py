"""What mutmut has made of a module: each mutant as the lines that it changes, and what became of it."""

from __future__ import annotations

import ast
import copy
import difflib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Final

LATE: Final = frozenset([-24, -9, 24, 36, 152, 255])
"""Exit codes where the tests did not end: a loop without an end is noticed too."""
SURVIVED: Final = 0
UNTESTED: Final = frozenset([5, 33])
"""No test calls the function."""

_ID_FIRST: Final = frozenset(["SealiftError", "_refusal", "refusal", "_broken", "_Problem", "fault"])
"""What makes a refusal: its first argument is the error id; the others are words for people."""
_WORDS_ONLY: Final = frozenset(
    [
        "ValueError",
        "TypeError",
        "_malformed",
        "_unreadable",
        "damaged_keys",
        "subject._refusal",
        "sigstoreroot._refusal",
    ]
)
_NAME_SECOND: Final = frozenset(["_number", "parse", "parse_canonical"])
"""What reads something: its second argument is what messages call it."""


@dataclass(eq=False)
class Mutant:
    """One change. ``code`` is the exit code of the tests under it, None while they have not run."""

    name: str
    code: int | None
    before: ast.FunctionDef
    after: ast.FunctionDef

    @property
    def module(self) -> str:
        """Such as ``verify``."""
        return self.name.removeprefix("installer.bundle.").partition(".")[0]

    @property
    def place(self) -> str:
        """Module and function, such as ``verify.check_content``."""
        mangled = self.name.rpartition(".")[2]
        path = mangled.rpartition("__mutmut_")[0].removeprefix("x").removeprefix("_").strip("ǁ")
        return f"{self.module}.{path.replace('ǁ', '.')}"

    @cached_property
    def change(self) -> str:
        """The lines that differ, in one line: ``old → new``."""
        before, after = (_lines(tree) for tree in (self.before, self.after))
        found = list(difflib.ndiff(before, after))
        old, new = (" ".join(line[2:].strip() for line in found if line.startswith(mark)) for mark in "-+")
        return f"{old} → {new}"

    @property
    def row(self) -> str:
        """Place and change, as a table in Markdown can hold them."""
        return f"{self.place}: {self.change}".replace("|", r"\|")

    @cached_property
    def key(self) -> str:
        """The same as long as neither the function nor what is changed in it is another."""
        texts = (self.place, *_lines(self.before), "", *_lines(self.after))
        return hashlib.sha256("\n".join(texts).encode()).hexdigest()

    @property
    def changes_words_alone(self) -> bool:
        """Whether nothing differs but the message or the hint of a refusal: its id stays, and so does when it comes."""
        return self._without_words(1)

    @property
    def changes_what_is_refused(self) -> bool:
        """Whether more differs than the id of a refusal: these can weaken a check."""
        return not self._without_words(0)

    def _without_words(self, kept: int) -> bool:
        """Whether both are the same once words are taken out, and with ``kept`` 0 the ids too."""
        return _silenced(self.before, kept, self.module) == _silenced(self.after, kept, self.module)


def read(folder: Path, module: str) -> Iterator[Mutant]:
    """The mutants of ``module`` in mutmut's folder."""
    path = folder / f"installer/bundle/{module}.py"
    names = json.loads(path.with_name(f"{module}.py.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    functions = {
        node.name: node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and "__mutmut_" in node.name
    }
    for name in names:
        mangled = name.removeprefix(f"installer.bundle.{module}.")
        original = functions[mangled.rpartition("__mutmut_")[0] + "__mutmut_orig"]
        yield Mutant(name, None, original, functions[mangled])


@cache
def _lines(tree: ast.FunctionDef) -> list[str]:
    """A function's lines, without the name that mutmut gave it."""
    return ast.unparse(tree).replace(tree.name, tree.name.rpartition("ǁ")[2].partition("__mutmut_")[0]).splitlines()


class _Silence(ast.NodeTransformer):
    """Takes the words out of refusals, and with ``kept`` 0 the ids too."""

    def __init__(self, kept: int, module: str) -> None:
        self._kept, self._module = kept, module

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.name = ""
        return self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if called in _NAME_SECOND:
            del node.args[1:]
        if {called, f"{self._module}.{called}"} & _WORDS_ONLY:
            node.args, node.keywords = [], []
        elif called in _ID_FIRST:
            node.args, node.keywords = node.args[: self._kept], []
        return node


@cache
def _silenced(tree: ast.FunctionDef, kept: int, module: str) -> str:
    return ast.dump(_Silence(kept, module).visit(copy.deepcopy(tree)))
