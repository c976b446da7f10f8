"""YAML as Compose reads it, but strictly: no key twice, no types beyond JSON's, no bombs. Pure.

PyYAML follows YAML 1.1, where ``yes`` is a boolean and ``22:22`` a number in base 60; Compose doesn't. So scalars
are resolved here by the rules of YAML 1.2 (plus octal ``0644``), and every string is written so that both agree.
"""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from installer.errors import SealiftError

MAX_NODES: Final = 100_000
MAX_DEPTH: Final = 50
_PLAIN: Final = re.compile(r"[a-z][a-z0-9_-]*")
_WORDS: Final = {"y", "n", "yes", "no", "on", "off", "true", "false", "null"}
_INT: Final = "tag:yaml.org,2002:int"


class _Loader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - PyYAML's own way to start from none

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.value in seen if isinstance(key, yaml.ScalarNode) else True:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {key.value!r} stands twice", key.start_mark
                )
            seen.add(key.value)
        return node

    def integer(self, node: yaml.ScalarNode) -> int:
        """Decimal, ``0x``, ``0o`` and, as in ``mode: 0644``, octal with a leading zero."""
        text = node.value.replace("_", "")
        sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
        if digits.startswith(("0x", "0o")):
            return sign * int(digits, 0)
        return sign * int(digits, 8 if digits.startswith("0") else 10)


_RESOLVERS: Final = (
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    (_INT, r"^[-+]?(?:0[0-7]*|[1-9][0-9]*|0o[0-7]+|0x[0-9a-fA-F]+)$", "-+0123456789"),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[-+]?[0-9]+[eE][-+]?[0-9]+)$",
        "-+0123456789.",
    ),
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:merge", r"^<<$", "<"),
)
for _tag, _pattern, _first in _RESOLVERS:
    _Loader.add_implicit_resolver(_tag, re.compile(_pattern), list(_first))
_Loader.add_constructor(_INT, _Loader.integer)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True

    def text(self, data: str) -> yaml.ScalarNode:
        plain = _PLAIN.fullmatch(data) and data not in _WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=None if plain else '"')


_Dumper.add_representer(str, _Dumper.text)


def parse_mapping(text: bytes, what: str) -> dict[str, Any]:
    """The mapping in ``text``, anchors and merges resolved into copies. Raises ``compose-invalid`` (2)."""
    try:
        value = yaml.load(text, Loader=_Loader)  # noqa: S506 - derives from SafeLoader
        plain = _Copier().copy(value, 0)
    except (yaml.YAMLError, ValueError, RecursionError, UnicodeDecodeError, TypeError) as error:
        raise _invalid(what, " ".join(str(error).split())[:300]) from error
    if not isinstance(plain, dict):
        raise _invalid(what, "it is not a mapping")
    return plain


def write(document: object) -> bytes:
    """The same bytes for the same content: sorted keys, no aliases, every doubtful string in quotes."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=True, allow_unicode=True, width=10**6).encode()


class _Copier:
    """Copies plain data: what an anchor shares is spelled out, within bounds."""

    def __init__(self) -> None:
        self._nodes = 0

    def copy(self, value: object, depth: int) -> object:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise ValueError("it is too large or too deep once its anchors are spelled out")
        if isinstance(value, dict):
            if not all(isinstance(key, str) for key in value):
                raise ValueError("a key is not a string")
            return {key: self.copy(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list):
            return [self.copy(item, depth + 1) for item in value]
        if value is None or isinstance(value, str | int | float):
            return value
        raise ValueError(f"a value of the type {type(value).__name__}")


def _invalid(what: str, why: str) -> SealiftError:
    return SealiftError("compose-invalid", f"cannot read {what}: {why}", hint="the product's template is wrong")
