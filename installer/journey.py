"""``sealift install`` on media that hold the whole way to a release: each step is an upgrade of its own, in order.

Rules:
- ``path.json`` is a hint. Before anything is done, the head of every step's bundle is verified; order and content are
  judged by what is signed: one product, versions that grow, each allowed over the one before.
- Where the site stands is its own state's word: steps up to what serves are passed over, so a run that failed, or was
  killed, goes on from there when it is started again.
- A step that fails is taken back and ends the walk: the step before it serves, and all that was done before stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final

import semver

from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.beside import verify_with_countersignatures
from installer.bundle.encrypted import Unlock
from installer.bundle.parts import Ask
from installer.bundle.pathnote import PATH_FILE, PathNote, PathStep
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import Now
from installer.errors import ExitCode, SealiftError
from installer.look.observing import compose_host
from installer.plan.driver import Connect
from installer.report import Outcome, show_outcome
from installer.state.state import load_state
from installer.talk import Table, Talk
from installer.trust.admission import within
from installer.trust.entrance import clock_here
from installer.trust.mediakey import media_keys
from installer.trust.store import load_policy
from installer.upgrade import Approve, Request, upgrade

_HINT: Final = "copy the media again from their source; each folder in them can also be installed by itself"


@dataclass(frozen=True)
class Leg:
    """A step whose signatures hold. ``folder`` is its media folder."""

    folder: Path
    release: Release


@dataclass
class Journey:
    """How a walk went: what became of each step, and the last upgrade that was tried (None: none had to be)."""

    legs: Sequence[Leg]
    results: list[str] = field(default_factory=list)
    last: Outcome | None = None
    error: SealiftError | None = None

    def as_json(self) -> list[dict[str, object]]:
        """Every step and its ``result``: ``passed-over``, as an upgrade ends, ``failed``, ``to-do``."""
        results = [*self.results, *["to-do"] * (len(self.legs) - len(self.results))]
        return [
            {
                "folder": leg.folder.name,
                "version": leg.release.version,
                "digest": str(leg.release.digest),
                "result": result,
            }
            for leg, result in zip(self.legs, results, strict=True)
        ]


def show(talk: Talk, ended: Outcome | Journey) -> None:
    """Whichever it was."""
    if isinstance(ended, Outcome):
        show_outcome(talk, ended)
    else:
        show_journey(talk, ended)


def show_journey(talk: Talk, going: Journey) -> None:
    """As for one upgrade, with every step; raises what ended the walk early."""
    steps = going.as_json()
    last = going.last
    value: dict[str, object] = {**(last.as_json() if last is not None else {}), "path": steps}
    rows = tuple((str(step["version"]), str(step["result"]), str(step["folder"])) for step in steps)
    if last is not None and last.plan is not None and last.result == "planned":
        lines = [f"{version}  {result}  {folder}" for version, result, folder in rows]
        talk.result("\n".join([*lines, last.plan.headline, *last.plan.lines()]), value)
    else:
        serves = "" if last is None else f": {last.product} {last.serving} serves"
        talk.result(Table(("step", "", "folder"), rows, f"{last.result if last else 'stopped'}{serves}"), value)
    if going.error is not None:
        raise going.error


def install(request: Request, talk: Talk, approve: Approve, connect: Connect = compose_host) -> Outcome | Journey:
    """Install what ``request.media`` holds: one release, or a way of several. Raises as :func:`upgrade` does."""
    note = PathNote.beside(request.media) if request.media.is_dir() else None
    return upgrade(request, talk, approve, connect) if note is None else walk(note, request, talk, approve, connect)


def walk(note: PathNote, request: Request, talk: Talk, approve: Approve, connect: Connect = compose_host) -> Journey:
    """Go the way that ``note`` hints at, as far as it goes."""
    state_dir = request.state_dir
    now = partial(now_here, state_dir)
    keys = partial(media_keys, state_dir)
    legs = verify_legs(request.media, note, load_policy(state_dir), now=now, ask=talk.ask_for_disc, unlock=keys)
    found = load_state(state_dir).products.get(note.product)
    current = found.current.version if found is not None and found.current is not None else None
    done = passed(legs, current, found.current.digest if found and found.current else None)
    refuse_one_way(request, len(legs) - done)
    going = Journey(legs, ["passed-over"] * done)
    for line in _lines(legs, done, current):
        talk.say(line)
    asked = _once(approve, [leg.release.version for leg in legs[done:]])
    for number in range(done, len(legs)):
        leg, is_last = legs[number], number == len(legs) - 1
        step = replace(request, media=leg.folder, within=request.within if is_last else None)
        try:
            going.last = upgrade(step, talk, asked, connect)
        except SealiftError as error:
            going.results.append("failed")
            going.error = _told(error, going, number)
            return going
        going.results.append(going.last.result)
        if going.last.error is not None:
            going.error = _told(going.last.error, going, number)
            return going
        if request.dry_run:
            return going
    return going


def verify_legs(folder: Path, note: PathNote, policy: TrustPolicy, *, now: Now, ask: Ask, unlock: Unlock) -> list[Leg]:
    """Verify the head of each step, under the root that the steps before it lead to, and judge the way as a whole.

    Raises the errors of the verifier, ``path-note-differs`` (3), ``upgrade-path`` (6).
    """
    legs: list[Leg] = []
    for step in note.steps:
        place = folder / step.folder
        if place.is_symlink() or not place.is_dir():
            raise SealiftError(
                "path-note-differs", f"{PATH_FILE} names {step.folder}, which is no folder here", hint=_HINT
            )
        bundle = locate_bundle(place)
        try:
            with BundleReader(bundle, ask, unlock) as reader:
                verified, _ = verify_with_countersignatures(reader, policy, bundle, now=now)
        except SealiftError as error:
            error.details += (f"it is about {step.folder}, which brings {step.version}",)
            raise
        policy = verified.policy
        legs.append(Leg(place, verified.release))
        judge_leg(note, step, legs)
    return legs


def judge_leg(note: PathNote, step: PathStep, legs: Sequence[Leg]) -> None:
    """Whether the last of ``legs`` is what the note says, and may follow the one before it. Pure."""
    release = legs[-1].release
    if str(release.digest) != step.digest or release.product != note.product or release.version != step.version:
        raise SealiftError(
            "path-note-differs",
            f"{step.folder} holds {release.product} {release.version} ({release.digest.short}): "
            f"not what {PATH_FILE} says",
            hint=_HINT,
        )
    if len(legs) == 1:
        return
    before, wanted = legs[-2].release.version, release.requires.upgrade_from
    if semver.Version.parse(release.version) <= semver.Version.parse(before):
        raise SealiftError(
            "path-note-differs", f"{release.version} stands after {before}, and is not higher", hint=_HINT
        )
    if wanted is not None and not within(before, wanted):
        raise SealiftError(
            "upgrade-path",
            f"these media do not hold the whole way: {release.version} can be installed over {wanted}, "
            f"and the step before it is {before}",
            hint="ask the vendor for media with the steps in between: bundle kit --from a new receipt",
        )


def passed(legs: Sequence[Leg], version: str | None, digest: str | None) -> int:
    """How many steps lie behind a site where ``version`` serves. Pure. The last one is always asked for again: it may
    not be healthy, or its configuration may have changed."""
    if version is None:
        return 0
    here = semver.Version.parse(version)
    behind = [
        number
        for number, leg in enumerate(legs, 1)
        if str(leg.release.digest) == digest or semver.Version.parse(leg.release.version) < here
    ]
    return min(max(behind, default=0), len(legs) - 1)


def refuse_one_way(request: Request, steps: int) -> None:
    """What is for one release alone. Raises ``bad-option`` (2)."""
    for given, name in ((request.permit is not None, "--permit"), (request.stage, "stage")):
        if given and steps > 1:
            raise SealiftError(
                "bad-option",
                f"{name} is for one release, and {steps} steps are left on these media",
                hint="install the first ones by their folders, then use it with the folder that it is for",
            )


def _lines(legs: Sequence[Leg], done: int, current: str | None) -> list[str]:
    versions = [leg.release.version for leg in legs]
    way = " -> ".join([current or "nothing", *versions[done:]])
    passed_over = [f"passed over, installed before: {', '.join(versions[:done])}"] if done else []
    return [f"{legs[0].release.product}: {way}, in {len(legs) - done} steps", *passed_over]


def now_here(state_dir: Path, root: TrustPolicy) -> datetime:
    """The time to judge by at this site, under ``root``."""
    return clock_here(state_dir, root).now


def _once(approve: Approve, versions: Sequence[str]) -> Approve:
    """Ask a person before the first step only, and for all of them."""
    said: list[bool] = []

    def ask(question: str) -> bool:
        if not said:
            more = f" and then {', '.join(versions[1:])}" if len(versions) > 1 else ""
            said.append(approve(question.replace(": go on?", f"{more}: go on?")))
        return said[0]

    return ask


def _told(error: SealiftError, going: Journey, number: int) -> SealiftError:
    """The same refusal, which also says at which step it was, and what to do about the others."""
    version, count = going.legs[number].release.version, len(going.legs)
    error.message = f"{error.message}; this was step {number + 1} of {count}, {version}"
    if error.exit_code is not ExitCode.OPERATOR_NEEDED:
        error.hint = f"{error.hint}; the same command goes on from here" if error.hint else "the same command goes on"
    return error
