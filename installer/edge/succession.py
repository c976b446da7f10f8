"""One HAProxy after another: a newer one takes the sockets over, and no session is lost.

Rules:
- The new one is started beside the old one, gets the listening sockets from it (``-x``), and both accept for a moment;
  then the old one accepts no more (SIGUSR1), serves what it has, and ends by itself.
- While the new one is not known to serve, it has no restart policy: a machine that goes down in between comes back
  with the old one alone.
- What the old one still gets on kept-alive connections it hands over, as workers from before a reload do.
- Doing it again after a kill at any moment goes on where it ended.
"""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from installer.edge import answers, colours, container
from installer.edge.container import ENGINE
from installer.edge.control import MASTER, Control, predecessor, predecessors
from installer.edge.render import mark
from installer.edge.runtime import EdgeRuntime
from installer.errors import SealiftError
from installer.site.names import Names
from installer.system import run

_POLL: Final = 0.02  # seconds
_STARTS: Final = 20.0


def replace(names: Names, image_id: str, folder: Path, *, engine: str = ENGINE) -> None:
    """Have the front door run from ``image_id``; nothing is done where it does.

    Raises ``edge-failed`` (9) with HAProxy's own words; the old one then goes on serving, and nothing is left.
    """
    bury(names, engine=engine)
    here = _image(names, names.edge, engine)
    if here == image_id and _image(names, container.next_edge(names), engine) is None:
        return
    if here is not None and not _stands(names, image_id, folder, engine):
        _bring_up(names, image_id, folder, engine)
    _settle(names, folder, engine)


def settle(names: Names, folder: Path, *, engine: str = ENGINE) -> None:
    """Bring a change that was cut off to its end where the new one had taken over, else forget it."""
    bury(names, engine=engine)
    coming = container.next_edge(names)
    if _image(names, coming, engine) is None:
        return
    if _image(names, names.edge, engine) is None or _is_kept_up(coming, engine):
        _settle(names, folder, engine)
    else:
        _give_up(names, folder, engine)


def bury(names: Names, *, engine: str = ENGINE) -> None:
    """Remove the containers of front doors from before that have served their last session."""
    gone = run(container.ended_edges(names, engine=engine), check=False).out.split()
    for one in gone:
        run(container.remove_container(one, engine=engine), check=False)


def _stands(names: Names, image_id: str, folder: Path, engine: str) -> bool:
    """Whether a killed run brought the new one up already."""
    coming = container.next_edge(names)
    status = run(container.inspect_edge(names, coming, engine=engine), check=False).out.split()
    return (
        status[:1] == ["running"]
        and _image(names, coming, engine) == image_id
        and _answers(folder, _link(names, folder, engine))
    )


def _bring_up(names: Names, image_id: str, folder: Path, engine: str) -> None:
    _give_up(names, folder, engine)
    link = _link(names, folder, engine)
    link.unlink(missing_ok=True)
    os.link(folder / MASTER, link)
    try:
        run(container.run_successor(names, image_id, folder, engine=engine))
        _await(names, folder, link, engine)
    except SealiftError:
        _give_up(names, folder, engine)
        raise


def _await(names: Names, folder: Path, link: Path, engine: str) -> None:
    coming = container.next_edge(names)
    deadline = time.monotonic() + _STARTS
    while not _answers(folder, link):
        status = run(container.inspect_edge(names, coming, engine=engine), check=False).out.split()
        if status[:1] != ["running"] or time.monotonic() > deadline:
            said = run(container.last_words(names, coming, engine=engine), check=False)
            words = answers.alerts(said.err + said.out)
            raise SealiftError(
                "edge-failed",
                "the newer haproxy does not take over" + (f": {words[0]}" if words else ""),
                hint="the old one goes on serving; the bundle's image of haproxy needs a fix",
                details=words,
            )
        time.sleep(_POLL)


def _settle(names: Names, folder: Path, engine: str) -> None:
    """The new one stays, the old one goes when its last session ends."""
    coming = container.next_edge(names)
    run(container.keep_up(coming, "always", engine=engine))
    old = run(container.id_of(names.edge, engine=engine), check=False).out.strip()
    if old:
        run(container.keep_up(old, "no", engine=engine))
        _let_go(names, old, engine)
    _hand_over(folder)
    run(container.rename(coming, names.edge, engine=engine))
    EdgeRuntime(folder).sync()


def _let_go(names: Names, which: str, engine: str) -> None:
    """Accept nothing more, and make room for the name; one that does not run has nothing to let go."""
    one = run(container.id_of(which, engine=engine)).out.strip()
    if run(container.let_go(one, engine=engine), check=False).code == 0:
        run(container.rename(one, f"{names.edge}-{one[:8]}", engine=engine))
    else:
        run(container.remove_container(one, engine=engine))


def _hand_over(folder: Path) -> None:
    """Let the workers of all that were before give every further request to the new one."""
    for old in predecessors(folder):
        try:
            workers = old.workers(patience=0)
        except SealiftError:  # it has ended
            (folder / old.master_socket).unlink(missing_ok=True)
            continue
        for pid in (*workers.current, *workers.old):
            with suppress(SealiftError):
                colours.hand_over(old, pid)


def _link(names: Names, folder: Path, engine: str) -> Path:
    """Another name for the socket of the master that serves, which its successor will take the name from."""
    return folder / predecessor(run(container.id_of(names.edge, engine=engine)).out.strip())


def _answers(folder: Path, link: Path) -> bool:
    """Whether another master than the one behind ``link`` serves the configuration on disk."""
    try:
        if link.exists() and (folder / MASTER).samefile(link):
            return False
        control = Control(folder)
        text = (folder / "haproxy.cfg").read_text(encoding="utf-8")
        for pid in control.workers(patience=0).current:
            info = answers.parse_info(control.master(f"@!{pid} show info", patience=0))
            if mark(f"  description {info.get('description', '')}") == mark(text):
                return True
    except (OSError, SealiftError):
        return False
    return False


def _give_up(names: Names, folder: Path, engine: str) -> None:
    """The old one alone, reachable where it was; nothing to do where no new one was started."""
    coming = container.next_edge(names)
    if _image(names, coming, engine) is None:
        return
    _let_go(names, coming, engine)  # it may have accepted somebody already
    link = _link(names, folder, engine)
    with suppress(SealiftError):  # nobody answers there: it is from before a start of the machine, or not there
        Control(folder, f"run/{link.name}").workers(patience=0)
        link.rename(folder / MASTER)
    link.unlink(missing_ok=True)  # two names of one socket: then the rename did nothing


def _is_kept_up(which: str, engine: str) -> bool:
    return run(container.policy_of(which, engine=engine), check=False).out.strip() == "always"


def _image(names: Names, which: str, engine: str) -> str | None:
    found = run(container.image_of_edge(names, which, engine=engine), check=False)
    return found.out.strip() if found.code == 0 else None
