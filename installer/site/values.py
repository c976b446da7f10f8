"""Site values against a release's typed inputs. Pure: names what is missing before anything is rendered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import yaml

from installer.bundle.release import Input
from installer.errors import SealiftError

Value = str | int | bool | list[str]
Nested = dict[str, object]
_EXAMPLES: Final[dict[str, str]] = {"string": '"..."', "integer": "0", "boolean": "true", "list": '["..."]'}


@dataclass(frozen=True)
class Resolved:
    """``nested`` is what templates see as ``values``; ``unknown`` are site values that this release has no use for."""

    nested: Nested
    unknown: tuple[str, ...]


def resolve_values(inputs: Mapping[str, Input], given: Mapping[str, Value]) -> Resolved:
    """Give every input its value: the site's, else the default; dotted names become nested mappings.

    Raises ``site-value-missing`` (7) naming all that are missing, ``site-file-invalid`` (2) for a value of another
    type, ``release-invalid`` (3) when one input's name is the beginning of another's.
    """
    _refuse_missing({name: spec for name, spec in inputs.items() if name not in given and spec.default is None})
    nested: Nested = {}
    for name, spec in sorted(inputs.items()):
        _place(nested, name, _checked(name, spec, given[name]) if name in given else spec.default)
    return Resolved(nested, tuple(sorted(set(given) - set(inputs))))


def _refuse_missing(missing: Mapping[str, Input]) -> None:
    if not missing:
        return
    lines = tuple(
        f"{name}: {_EXAMPLES[spec.type]}" + (f"  # {_one_line(spec.description)}" if spec.description else "")
        for name, spec in sorted(missing.items())
    )
    raise SealiftError(
        "site-value-missing",
        f"the release needs values that the site file lacks: {', '.join(sorted(missing))}",
        hint="add to site.yaml, below `values:`, with this site's own answers: " + " | ".join(lines),
        details=("values:", *(f"  {line}" for line in lines)),
    )


def _checked(name: str, spec: Input, value: Value) -> Value:
    fits = {
        "string": isinstance(value, str),
        "integer": isinstance(value, int) and not isinstance(value, bool),
        "boolean": isinstance(value, bool),
        "list": isinstance(value, list) and all(isinstance(item, str) for item in value),
    }[spec.type]
    if not fits:
        shown = yaml.safe_dump(value, default_flow_style=True, width=10_000).split("\n")[0]
        raise SealiftError(
            "site-file-invalid",
            f"the value {name} must be of type {spec.type}, but the site file says {shown}",
            hint=f"write it like: {name}: {_EXAMPLES[spec.type]}",
        )
    return value


def _place(nested: Nested, name: str, value: object) -> None:
    *folders, leaf = name.split(".")
    here = nested
    for folder in folders:
        below = here.setdefault(folder, {})
        if not isinstance(below, dict):
            raise _name_clash(name)
        here = below
    if leaf in here:
        raise _name_clash(name)
    here[leaf] = value


def _name_clash(name: str) -> SealiftError:
    return SealiftError(
        "release-invalid",
        f"the input {name} cannot stand beside another whose name it begins with, or that begins with it",
        hint="the release's manifest must rename one of them",
    )


def _one_line(text: str) -> str:
    return " ".join(text.split())
