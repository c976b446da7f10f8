"""``bundle verify KIT`` and ``bundle inspect KIT``: media of ``bundle kit``, every step in the order of ``path.json``.

Rules:
- The note is a hint: the order is judged by what is signed, as the site judges it (:mod:`installer.journey`).
- Each step is checked as one bundle is, under the root that the steps before it lead to. It may build on what
  ``--have`` names and on the steps before it; what it needs beyond them makes the kit ``incomplete`` (4), as a delta.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import gettempdir
from typing import Final

from bundler.delta.holdings import Holdings
from bundler.delta.stepsbefore import StepsBefore
from bundler.verification import Verification, inspect_media, verify_media
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.encrypted import Unlock
from installer.bundle.packing import Delta, Packing, read_packing
from installer.bundle.pathnote import PathNote
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.journey import Leg, verify_legs
from installer.talk import Table, Talk, size

ORDER: Final = "order"


@dataclass(frozen=True)
class VerifiedWay:
    """A kit whose every step held, in their order."""

    note: PathNote
    steps: tuple[tuple[str, Verification], ...]
    """Folder, and what was found there."""

    def as_json(self) -> dict[str, object]:
        """The object of one bundle, about the last step; ``checked`` is what was checked of every step."""
        last = self.steps[-1][1]
        checked = [what for what in last.checked if all(what in found.checked for _, found in self.steps)]
        return {
            **last.as_json(),
            "checked": [*checked, ORDER],
            "not_checked": [f"{folder}: {what}" for folder, found in self.steps for what in found.not_checked],
            "passed_over": [
                {"folder": folder, **item} for folder, found in self.steps for item in found.passed_over_as_json()
            ],
            "site": self.note.site,
            "since": self.note.since,
            "steps": [{"folder": folder, **found.as_json()} for folder, found in self.steps],
        }

    def table(self) -> Table:
        """For people."""
        value = self.as_json()
        rows = [("verified", f"{self.note.product} {_way(self.note)}, for {self.note.site}")]
        for folder, found in self.steps:
            rows.append(("step", folder))
            rows += [(f"  {label}", text) for label, text in found.table().rows if label != "verified"]
        rows.append(("checked of all", ", ".join(value["checked"])))  # type: ignore[arg-type]
        return Table(("", ""), tuple(rows))


def verify_way(
    path: Path,
    note: PathNote,
    policy: TrustPolicy,
    talk: Talk,
    *,
    demands_program: bool = False,
    now: datetime | None = None,
    have: Sequence[Holdings] = (),
    unlock: Unlock | None = None,
) -> VerifiedWay:
    """Check the heads of all steps and their order, then every byte of each step.

    Raises what :func:`installer.journey.verify_legs` and :func:`bundler.verification.verify_media` raise; a refusal
    names its step.
    """
    legs = verify_legs(path, note, policy, now=now, ask=talk.ask_for_disc, unlock=unlock or list)
    packings = [_packing(leg, unlock) for leg in legs]
    found: list[tuple[str, Verification]] = []
    with StepsBefore(packings, Path(gettempdir())) as before:
        for leg, packing in zip(legs, packings, strict=True):
            earlier = [Holdings("", frozenset(), (locate_bundle(path / folder),)) for folder, _ in found]
            try:
                step = verify_media(
                    leg.folder,
                    policy,
                    talk,
                    demands_program=demands_program,
                    now=now,
                    have=(*have, *earlier),
                    unlock=unlock,
                    before=before,
                )
            except SealiftError as error:
                error.message = (
                    f"{error.message}; this is about {leg.folder.name}, step {len(found) + 1} of {len(legs)}"
                )
                raise
            policy = step.verified.policy
            before.add(leg.release, packing)
            found.append((leg.folder.name, step))
    return VerifiedWay(note, tuple(found))


def inspect_way(
    path: Path,
    note: PathNote,
    policy: TrustPolicy | None = None,
    *,
    now: datetime | None = None,
    unlock: Unlock | None = None,
) -> tuple[Table, dict[str, object]]:
    """What the heads of all steps claim; with ``policy``, only where their signatures and their order hold."""
    if policy is not None:
        verify_legs(path, note, policy, now=now, ask=lambda _: False, unlock=unlock or list)
    heads = [inspect_media(path / step.folder, unlock=unlock)[1] for step in note.steps]
    (product, version), held = _called(heads[-1]), policy is not None
    title = "NOT VERIFIED: nobody has checked who signed these, or the content; bundle verify does"
    if held:
        title = "signatures and order hold; the content is NOT checked: bundle verify does"
    rows = [
        ("kit", f"{note.product} {_way(note)}"),
        ("for", f"{note.site}, and no other site"),
        *(("step", _line(step.folder, head)) for step, head in zip(note.steps, heads, strict=True)),
        ("more", f"bundle inspect {path}/{note.steps[0].folder}"),
    ]
    value: dict[str, object] = {
        "verified": False,
        "product": product,
        "version": version,
        "digest": heads[-1]["digest"],
        "site": note.site,
        "since": note.since,
        "size": sum(_size(head) for head in heads),
        "signatures_hold": held,
        "steps": [
            {"folder": step.folder, **head, "signatures_hold": held}
            for step, head in zip(note.steps, heads, strict=True)
        ],
    }
    return Table(("", ""), tuple(rows), title), value


def _packing(leg: Leg, unlock: Unlock | None) -> Packing | Delta:
    with BundleReader(locate_bundle(leg.folder), unlock=unlock) as reader:
        return read_packing(reader.head.packing, leg.release)


def _way(note: PathNote) -> str:
    return " -> ".join([note.since or "nothing", *(step.version for step in note.steps)])


def _line(folder: str, head: dict[str, object]) -> str:
    return f"{folder}  {' '.join(_called(head))}  {head['digest']}  {size(_size(head))}"


def _called(head: dict[str, object]) -> tuple[str, str]:
    """Product and version, as the head claims."""
    release = head["release"]
    assert isinstance(release, dict)  # noqa: S101 - inspect_media put it there
    return release["product"], release["version"]


def _size(head: dict[str, object]) -> int:
    found = head["size"]
    assert isinstance(found, int)  # noqa: S101 - inspect_media put it there
    return found
