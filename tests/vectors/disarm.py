"""Takes one check of the verifier away at a time, so that it shows whether a vector needs just that check.

A check is an ``if`` whose body refuses. Taken away means: its condition, or one operand of its ``or``, is False.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType

from installer.errors import ERRORS


@dataclass(frozen=True)
class Check:
    """One condition in one function. ``ids`` are the errors that its body names."""

    module: ModuleType
    function: str
    condition: str
    ids: frozenset[str]
    code: CodeType

    def __str__(self) -> str:
        return f"{self.module.__name__.rpartition('.')[2]}.{self.function}: {self.condition}"


def checks(module: ModuleType) -> list[Check]:
    """Every check of a module, each disarmed in ``code``."""
    tree = ast.parse(inspect.getsource(module))
    found: list[Check] = []
    for qualname, function in _functions(tree, ""):
        for number, node in enumerate(ast.walk(function)):
            if isinstance(node, ast.If) and _refuses(node):
                for operand in _operands(node.test):
                    found.append(_check(module, tree, qualname, number, operand, node))
    return found


@contextmanager
def disarmed(check: Check) -> Iterator[None]:
    """The check is gone inside the block."""
    function = _live(check.module, check.function)
    before = function.__code__
    function.__code__ = check.code
    try:
        yield
    finally:
        function.__code__ = before


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef):
            yield f"{prefix}{child.name}", child
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")


def _refuses(node: ast.If) -> bool:
    last = node.body[-1]
    return isinstance(last, ast.Raise) or (isinstance(last, ast.Return) and bool(_ids(last)))


def _ids(node: ast.AST) -> frozenset[str]:
    texts = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)}
    return frozenset(texts & set(ERRORS))


def _operands(test: ast.expr) -> list[int | None]:
    """The operands of an ``or``, by number; None for a condition that is no ``or``."""
    return list(range(len(test.values))) if isinstance(test, ast.BoolOp) and isinstance(test.op, ast.Or) else [None]


def _check(
    module: ModuleType, tree: ast.Module, qualname: str, number: int, operand: int | None, node: ast.If
) -> Check:
    changed = copy.deepcopy(tree)
    function = dict(_functions(changed, ""))[qualname]
    target = list(ast.walk(function))[number]
    assert isinstance(target, ast.If)
    if operand is None:
        condition = ast.unparse(target.test)
        target.test = ast.copy_location(ast.Constant(False), target.test)
    else:
        assert isinstance(target.test, ast.BoolOp)
        condition = ast.unparse(target.test.values[operand])
        target.test.values[operand] = ast.copy_location(ast.Constant(False), target.test)
    compiled = compile(changed, inspect.getfile(module), "exec")
    ids = frozenset().union(*(_ids(statement) for statement in node.body))
    return Check(module, qualname, condition, ids, _code(compiled, qualname.split(".")))


def _code(code: CodeType, names: list[str]) -> CodeType:
    inner = next(part for part in code.co_consts if isinstance(part, CodeType) and part.co_name == names[0])
    return _code(inner, names[1:]) if names[1:] else inner


def _live(module: ModuleType, qualname: str) -> FunctionType:
    """The function that runs, below what decorators have made of it."""
    *owners, name = qualname.split(".")
    scope: object = module
    for owner in owners:
        scope = vars(scope)[owner]
    found = vars(scope)[name]
    while not isinstance(found, FunctionType):
        found = getattr(found, "__func__", None) or getattr(found, "fget", None) or found.wrapped
    inner = inspect.unwrap(found)
    assert isinstance(inner, FunctionType)
    return inner
