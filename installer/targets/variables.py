"""Variables in a compose file (``${NAME}``). Pure.

Compose would take them from whatever environment it is started in, and an unset one is silently empty. So each must
have its value in the file ``.env`` among the templates, or a default where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from installer.targets.mounts import invalid

FILE: Final = ".env"
_USE: Final = re.compile(r"\$(?:\$|\{(?P<braced>[A-Za-z_]\w*)(?P<rest>[^}]*)\}|(?P<bare>[A-Za-z_]\w*))", re.ASCII)
_SET: Final = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)\s*=", re.ASCII | re.MULTILINE)


def refuse_unset(document: object, files: Mapping[str, bytes]) -> None:
    """Raise ``compose-invalid`` (2) for a variable that only the host's environment could fill in."""
    known = set(_SET.findall(files.get(FILE, b"").decode(errors="replace")))
    for text in _strings(document):
        for use in _USE.finditer(text):
            name = use["braced"] or use["bare"]
            if name and name not in known and not (use["rest"] or "").startswith(("-", ":-", "+", ":+")):
                raise invalid(
                    f"the compose file uses the variable ${name}, which nobody sets",
                    f"take it from a value of the site ({{{{ values.{name.lower()} }}}}), or set it in the template "
                    f"{FILE}; for a dollar sign itself write $${name}",
                )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
