"""What becomes of a permit: its id is used up before anything is touched, and given back when all was taken back.

Used ones are kept for auditors, ``permits/ID.permit.json`` with ``ID.permit.json.N.sigstore.json``: the vendor's bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from installer.durable import make_folder, write_durably
from installer.performers.host import Handlers, Host
from installer.plan import actions as act
from installer.state.state import load_state
from installer.trust.clock import host_now, spelled
from installer.trust.permit import kept_permit


class Permits:
    """Writes down in the state which permits were used."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def handlers(self) -> Handlers:
        return {act.UsePermit: self._use, act.ReturnPermit: self._return}

    def _use(self, action: act.UsePermit) -> None:
        for path, content in self._files(action):
            make_folder(path.parent)
            write_durably(path, content, 0o600)
        state, permit = load_state(self._host.state_dir), action.permit
        lost = state.lost or permit.coming_from is None  # until a commit: a beginning that fails must not pass for none
        self._host.remember(permits={permit.id: spelled(host_now())} | state.permits, lost=lost)

    def _return(self, action: act.ReturnPermit) -> None:
        used = load_state(self._host.state_dir).permits
        self._host.remember(permits={name: at for name, at in used.items() if name != action.permit.id})
        place = self._host.state_dir / kept_permit(action.permit)
        for path in sorted(place.parent.glob(f"{place.name}*"), reverse=True):
            path.unlink()
        with suppress(OSError):  # others were used
            place.parent.rmdir()

    def _files(self, action: act.UsePermit) -> Iterator[tuple[Path, bytes]]:
        place = self._host.state_dir / kept_permit(action.permit)
        yield place, action.permit.to_bytes()
        for number, text in enumerate(action.signatures, 1):
            yield place.with_name(f"{place.name}.{number}.sigstore.json"), text.encode()
