"""Bringing HAProxy's image and container up, and taking them away."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final

from installer.edge import answers, container
from installer.edge.config import EdgeConfig
from installer.edge.container import ENGINE
from installer.edge.files import ensure_folder
from installer.edge.runtime import EdgeRuntime
from installer.errors import SealiftError
from installer.site.names import Names
from installer.system import run

_POLL: Final = 0.05  # seconds


def load_image(archive: Path, image_id: str, *, engine: str = ENGINE) -> None:
    """Have the image in the engine; the archive is read only where it is missing.

    Raises ``edge-failed`` (9) where the engine then holds another image than the signed one.
    """
    if _has(image_id, engine):
        return
    run(container.load_archive(archive, engine=engine))
    if not _has(image_id, engine):
        raise SealiftError(
            "edge-failed",
            f"{archive} does not hold the image {image_id}",
            hint="install from the media again: that writes the archive anew",
        )


def start(
    names: Names, image_id: str, folder: Path, config: EdgeConfig, *, engine: str = ENGINE, timeout: float = 15.0
) -> EdgeRuntime:
    """The first start: folder, configuration, container; returns when HAProxy answers (503: no product has a colour).

    A container left over from before is replaced. Raises ``port-taken`` (7) or ``edge-failed`` (9) with HAProxy's own
    words; then no container is left.
    """
    ensure_folder(folder)
    runtime = container.edge_runtime(names, image_id, folder, engine=engine)
    stop(names, engine=engine)
    runtime.prepare(config)
    try:
        run(container.run_edge(names, image_id, folder, engine=engine))
        _await(runtime, names, engine, timeout)
    except SealiftError:
        stop(names, engine=engine)
        raise
    return runtime


def stop(names: Names, *, engine: str = ENGINE) -> None:
    """Take the container away, and those that still serve old sessions; fine where there is none.

    Raises ``tool-failed`` (7).
    """
    for one in run(container.all_edges(names, engine=engine)).out.split():
        run(container.remove_container(one, engine=engine))


def _has(image_id: str, engine: str) -> bool:
    found = run(container.image_in_engine(image_id, engine=engine), check=False)
    return found.code == 0 and found.out.strip() == image_id


def _await(runtime: EdgeRuntime, names: Names, engine: str, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    while not runtime.running():
        state = run(container.inspect_edge(names, engine=engine), check=False).out.split()
        ended = state and (state[0] in ("restarting", "exited", "dead") or state[-1] != "0")
        if ended or time.monotonic() > deadline:
            said = run(container.last_words(names, engine=engine), check=False)
            words = answers.alerts(said.err + said.out)
            raise SealiftError(
                "edge-failed",
                "haproxy does not start" + (f": {words[0]}" if words else ""),
                hint="its own words stand above; correct site.yaml and run this again",
                details=words,
            )
        time.sleep(_POLL)
    runtime.sync()
