"""What becomes of a permit: its id is used up before anything is touched, and given back when all was taken back."""

from __future__ import annotations

from installer.performers.host import Handlers, Host
from installer.plan import actions as act
from installer.state.state import load_state
from installer.trust.clock import host_now, spelled


class Permits:
    """Writes down in the state which permits were used."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {act.UsePermit: self._use, act.ReturnPermit: self._return}

    def _use(self, action: act.UsePermit) -> None:
        state, permit = load_state(self._host.state_dir), action.permit
        lost = state.lost or permit.coming_from is None  # until a commit: a beginning that fails must not pass for none
        self._host.remember(permits={permit.id: spelled(host_now())} | state.permits, lost=lost)

    def _return(self, action: act.ReturnPermit) -> None:
        used = load_state(self._host.state_dir).permits
        self._host.remember(permits={name: at for name, at in used.items() if name != action.permit.id})
