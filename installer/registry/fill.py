"""Fills a registry although it stumbles: read the bundle once, ask again what is missing, read only that once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from typing import Final

from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.registry.client import RegistryClient
from installer.registry.images import Placement
from installer.registry.load import RegistrySink
from installer.registry.upload import may_pass

PAUSES: Final = (2.0, 5.0, 10.0)
"""Seconds before another pass: long enough for a registry that restarts."""

Read = Callable[[RegistrySink, bool], None]
"""Reads the bundle into a sink, which stays open. The second argument: all of it was read before, so only what the sink
wants is needed."""


def fill_registry(
    client: RegistryClient,
    what: Release | Placement,
    read: Read,
    warn: Callable[[str], None],
    pauses: tuple[float, ...] = PAUSES,
    others: Collection[str] = (),
) -> None:
    """Bring the product images of a release into the registry, or what is placed otherwise; manifests after every byte
    was verified.

    A registry that was away, busy or lost an upload is asked again after each of ``pauses`` (seconds), and gets what it
    lacks then; ``warn`` is told so. ``others`` are further repositories of its, from where it can share. Raises
    ``registry-*`` (9), ``too-large`` (3), and what ``read`` raises.
    """
    was_read = False
    for pause in (*pauses, None):
        try:
            sink = RegistrySink(client, what, others)
            read(sink, was_read)
            was_read = True
            sink.close()
            sink.finish_manifests()
            return
        except SealiftError as error:
            if pause is None or not may_pass(error):
                raise
            warn(f"{error.message}; trying again in {pause:.0f} s")
        time.sleep(pause)
