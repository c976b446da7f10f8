"""Words and figures for people: cleaned text, sizes, spans of time."""

from __future__ import annotations

import re
from typing import Final

# C0 and C1 controls, line and paragraph separators, and the marks that turn or hide text on a terminal.
_UNPRINTABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ud800-\udfff]")
_ESCAPE: Final = re.compile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\-_])?")


def clean(text: str) -> str:
    """``text`` on one line and harmless on a terminal: no escapes, no controls, no marks that turn its direction."""
    text = _ESCAPE.sub("", text.replace("\r\n", " ").replace("\n", " ").replace("\t", " "))
    return _UNPRINTABLE.sub("?", text)


def size(count: float) -> str:
    """Bytes in decimal units, such as ``19.0 MB``."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.95 or unit == "GB":
            break
        count /= 1000
    return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"


def span(seconds: float) -> str:
    """Seconds as ``0.4 s``, ``12 s``, ``3:07`` or ``1:02:09``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 100:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
