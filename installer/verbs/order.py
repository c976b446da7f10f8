"""The order in which help lists verbs: that of the work, not that in which modules register them."""

from __future__ import annotations

from typing import Any

from typer.core import TyperGroup


def in_order(*first: str) -> type[TyperGroup]:
    """A group that lists the verbs ``first`` in this order, then all others."""

    class Ordered(TyperGroup):
        def list_commands(self, ctx: Any) -> list[str]:
            known = super().list_commands(ctx)
            return [*(name for name in first if name in known), *(name for name in known if name not in first)]

    return Ordered
