"""The picture of the table: seconds of both sides, and how much of each limit was used. A plain SVG."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final
from xml.sax.saxutils import escape

from tests.bench.report import Measured, figure
from tests.bench.row import Goal, Row

WIDTH: Final = 1040
_LEFT, _RIGHT = 390, 60
_LETTERS: Final = 56
"""What there is room for on the left."""
_BAR: Final = WIDTH - _LEFT - _RIGHT
_OURS, _STOCK, _MISSED, _INK, _SOFT = "#1f6f8b", "#c3ccd3", "#b3402e", "#22303a", "#6b7a85"
_FONT: Final = "font-family='system-ui, -apple-system, Segoe UI, Helvetica, Arial, sans-serif'"


def draw(table: Sequence[Measured]) -> str:
    """The whole picture."""
    rows = [one.row for one in table]
    days = sorted({one.measured["date"].split()[0] for one in table})
    scales = ", ".join(sorted({f"scale {one.measured['scale']}" for one in table}))
    machines = "; ".join(dict.fromkeys(one.machine["processor"] for one in table))
    caption = f"{' to '.join(dict.fromkeys((days[0], days[-1])))}, {scales}; {machines}"
    parts: list[str] = []
    y = 30
    parts.append(_text(24, y, "Seconds, ours beside the other way", size=17, weight=600))
    y += 20
    parts.append(_text(24, y, caption, size=12, colour=_SOFT))
    y += 22
    for row in (row for row in rows if row.runs.get("beside") and len(row.goals) > 2):
        y = _pair(parts, row, y)
    y += 22
    parts.append(_text(24, y, "How much of each limit is used", size=17, weight=600))
    y += 20
    parts.append(_text(24, y, "a bar that stays left of the line keeps its promise", size=12, colour=_SOFT))
    y += 20
    top = y
    for row, goal in _limits(rows):
        y = _share(parts, row, goal, y)
    line = _LEFT + _BAR * 0.8
    parts.append(
        f"<line x1='{line:.0f}' y1='{top - 6}' x2='{line:.0f}' y2='{y - 4}' stroke='{_INK}' stroke-dasharray='3 3'/>"
    )
    parts.append(_text(line, y + 12, "limit", size=12, colour=_SOFT, anchor="middle"))
    height = y + 30
    body = "\n".join(parts)
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}' "
        f"role='img' aria-label='sealift beside the stock tools' {_FONT}>\n"
        f"<rect width='{WIDTH}' height='{height}' rx='10' fill='#ffffff' stroke='#dde3e7'/>\n{body}\n</svg>\n"
    )


def _limits(rows: Sequence[Row]) -> Iterator[tuple[Row, Goal]]:
    for row in rows:
        for goal in row.goals:
            if goal.limit:
                yield row, goal


def _pair(parts: list[str], row: Row, y: int) -> int:
    """Two bars, drawn to the scale of the longer one."""
    ours, stock = (_middle([one["wall"] for one in row.runs[side]]) for side in ("ours", "beside"))
    most = max(ours, stock)
    parts.append(_text(_LEFT - 14, y + 19, row.title, anchor="end"))
    for offset, value, colour, name in ((0, ours, _OURS, "sealift"), (15, stock, _STOCK, row.other)):
        length = max(2.0, _BAR * 0.8 * value / most)
        parts.append(f"<rect x='{_LEFT}' y='{y + offset}' width='{length:.1f}' height='13' rx='2' fill='{colour}'/>")
        parts.append(_text(_LEFT + length + 8, y + offset + 11, f"{value:.2f} s  {name}", size=12, colour=_SOFT))
    return y + 42


def _share(parts: list[str], row: Row, goal: Goal, y: int) -> int:
    share = goal.value / goal.limit if goal.limit else 0.0
    length = max(2.0, _BAR * 0.8 * min(share, 1.04))
    colour = _OURS if goal.met else _MISSED
    parts.append(_text(_LEFT - 14, y + 11, _label(row.title, goal.what), size=12, anchor="end"))
    parts.append(f"<rect x='{_LEFT}' y='{y}' width='{length:.1f}' height='13' rx='2' fill='{colour}'/>")
    told = f"{figure(goal.value, goal.unit)} of {figure(goal.limit or 0, goal.unit)}"
    inside = _BAR * 0.62 < length <= _BAR * 0.8
    at, anchor, ink = (_LEFT + length - 6, "end", "#ffffff") if inside else (_LEFT + length + 8, "start", _SOFT)
    parts.append(_text(at, y + 11, told, size=11, colour=ink, anchor=anchor))
    return y + 19


def _middle(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def _label(title: str, what: str) -> str:
    """Both where there is room, else less of the title."""
    room = _LETTERS - len(what) - 2
    return f"{title if len(title) <= room else title[: room - 1].rstrip(' ,') + '…'}: {what}"


def _text(
    x: float, y: float, text: str, *, size: int = 13, colour: str = _INK, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f"<text x='{x:.0f}' y='{y:.0f}' font-size='{size}' font-weight='{weight}' fill='{colour}' "
        f"text-anchor='{anchor}'>{escape(text)}</text>"
    )
