"""A Jinja2 environment for templates that came from outside: no files, no attributes of Python, bounded work.

Jinja2's own sandbox keeps templates away from the interpreter; what it leaves open is size and time, so here every
loop pass is counted, and operators, filters and methods that multiply text are measured before they run.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from time import monotonic
from typing import Any, Final

from jinja2 import BaseLoader, StrictUndefined, nodes
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment
from jinja2.visitor import NodeTransformer

MAX_OUTPUT: Final = 4 * 1024 * 1024
MAX_TEXT: Final = 4 * MAX_OUTPUT
MAX_PASSES: Final = 250_000
MAX_SECONDS: Final = 10.0
_MULTIPLYING_FILTERS: Final = ("batch", "center", "indent", "join", "replace", "round", "slice", "tojson")
_WIDE_FORMAT: Final = re.compile(r"\d{4}|\*")


class TooMuch(Exception):
    """A template asked for more text, passes or time than a configuration file can need."""


class BoundedEnvironment(SandboxedEnvironment):
    """Renders one set of files; make a new one per set, for the passes are counted over its life."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, loader: BaseLoader) -> None:
        super().__init__(loader=loader, undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
        self.globals.pop("lipsum")
        self.filters |= {name: _measured(FILTERS[name]) for name in _MULTIPLYING_FILTERS}
        self.filters["format"] = _format
        self._passes = 0
        self._until = monotonic() + MAX_SECONDS

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Joins what blocks, macros and ``set`` blocks have put out."""
        kept, size = [], 0
        for part in parts:
            size += len(part)
            _refuse_above(size)
            kept.append(part)
        return "".join(kept)

    def join(self, *parts: object) -> str:
        """The operator ``~``."""
        return self.concat(str(part) for part in parts)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """A key of a mapping wins over a method of the same name: ``values.items`` is the site's value."""
        if isinstance(obj, dict) and attribute in obj:
            return obj[attribute]
        return super().getattr(obj, attribute)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        if isinstance(obj, int | float | bytes) or attr in ("format", "format_map", "expandtabs", "translate"):
            return False
        return super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> None:
        """``str.format`` is not offered, not even wrapped: its widths can't be measured. ``%`` is."""

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str | list):
            _measure((owner, *args, *kwargs.values()))
        return super().call(context, obj, *args, **kwargs)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        if operator == "%" and isinstance(left, str):
            return _format(left, *(right if isinstance(right, tuple) else (right,)))
        if operator == "+":
            _refuse_above(_size(left) + _size(right))
        elif operator == "*" and not (isinstance(left, int) and isinstance(right, int) and _short(left, right)):
            _measure((left, right))
        elif operator == "**" and not (isinstance(right, int) and abs(right) <= 64 and _short(left)):
            raise TooMuch("a power too large")
        return super().call_binop(context, operator, left, right)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Counted().visit(super()._parse(source, name, filename))
        return tree

    def count_pass(self) -> None:
        """Called at the start of each pass through a body."""
        self._passes += 1
        if self._passes > MAX_PASSES or monotonic() > self._until:
            raise TooMuch("more loop passes than a configuration file can need")


class _Counted(NodeTransformer):
    """Adds a call that counts to every body that can run more than once; measures the operator ``~``."""

    def visit_Template(self, node: nodes.Template) -> nodes.Node:
        return self._with_count(node)

    def visit_For(self, node: nodes.For) -> nodes.Node:
        return self._with_count(node)

    def visit_Macro(self, node: nodes.Macro) -> nodes.Node:
        return self._with_count(node)

    def visit_CallBlock(self, node: nodes.CallBlock) -> nodes.Node:
        return self._with_count(node)

    def visit_Block(self, node: nodes.Block) -> nodes.Node:
        return self._with_count(node)

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:
        self.generic_visit(node)
        return _call("join", node.nodes, node)

    def _with_count(self, node: Any) -> nodes.Node:
        self.generic_visit(node)
        statement = nodes.ExprStmt(_call("count_pass", [], node))
        node.body.insert(0, statement.set_lineno(node.lineno or 1).set_environment(node.environment))
        result: nodes.Node = node
        return result


def _call(function: str, arguments: list[nodes.Expr], place: nodes.Node) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(function), arguments, [], None, None)
    call.set_lineno(place.lineno or 1, override=False)
    call.set_environment(place.environment)  # type: ignore[arg-type]
    return call


def _format(text: str, *args: Any, **kwargs: Any) -> str:
    if _WIDE_FORMAT.search(text):
        raise TooMuch("a format with such a width")
    return text % (kwargs or args)


def _measured(function: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, refused when the sizes of what it is given multiply to too much."""

    def filter(*args: Any, **kwargs: Any) -> Any:
        _measure((*args, *kwargs.values()))
        return function(*args, **kwargs)

    # Jinja2 marks on the function whether it wants the context or environment as its first argument.
    filter.__dict__.update(function.__dict__)
    return filter


def _measure(values: Iterable[Any]) -> None:
    product = 1
    for value in values:
        product *= max(1, _size(value))
        _refuse_above(product)


def _size(value: Any) -> int:
    if isinstance(value, int):
        return abs(value)
    if isinstance(value, str | bytes | list | tuple | Mapping | range):
        return len(value)
    return 1


def _short(*numbers: Any) -> bool:
    return all(not isinstance(number, int) or number.bit_length() <= 64 for number in numbers)


def _refuse_above(size: int) -> None:
    if size > MAX_TEXT:
        raise TooMuch("more text than a configuration file can need")
