"""How each action is done: one class per area, called by the loop in ``execute.py`` and by nobody else.

Every handler is idempotent: after a kill it is simply called again. It raises :class:`SealiftError` or ``OSError``.
"""

from __future__ import annotations

from installer.performers.containers import Containers
from installer.performers.frontdoor import FrontDoor
from installer.performers.host import Handlers, Host, Incoming
from installer.performers.loading import Loading
from installer.performers.looking import Looking
from installer.performers.permits import Permits
from installer.performers.siteservices import SiteServices
from installer.performers.trials import Trials
from installer.plan.actions import Action
from installer.plan.checks import Check

__all__ = ["Host", "Incoming", "Performer"]


class Performer:
    """Does actions on one host. ``incoming`` is None where nothing is brought in (a rollback, a recovery)."""

    def __init__(self, host: Host, incoming: Incoming | None = None) -> None:
        self._handlers: Handlers = {
            **Containers(host).handlers(),
            **Loading(host, incoming).handlers(),
            **SiteServices(host, incoming).handlers(),
            **FrontDoor(host).handlers(),
            **Trials(host).handlers(),
            **Looking(host).handlers(),
            **Permits(host).handlers(),
        }

    def __call__(self, action: Action | Check) -> None:
        self._handlers[type(action)](action)
