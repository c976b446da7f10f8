"""Groups of verbs whose module is imported when one of them is asked for: ``bundle --help`` wants only their names."""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class _Trust(TyperGroup):
    """The verbs of :mod:`bundler.verbs.trust`."""

    def list_commands(self, ctx: Any) -> list[str]:
        return self._loaded().list_commands(ctx)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        return self._loaded().get_command(ctx, cmd_name)

    def _loaded(self) -> TyperGroup:
        from bundler.verbs import trust as trust_verb

        return typer.main.get_group(trust_verb.app)


trust_app = typer.Typer(
    cls=_Trust, no_args_is_help=True, rich_markup_mode=None, help="The root of trust: who may sign what."
)
