"""The site program on a target kept in files, as a process of its own: ``python -m tests.contract.program VERB …``.

Verbs and exit codes are the product's: only the target that is reached is another one.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from installer import sittings
from installer.journey import install, show
from installer.look.receipts import make_receipt
from installer.pruning import prune
from installer.removal import remove
from installer.report import show_outcome
from installer.state.journal import Event, Journal
from installer.state.lock import locked
from installer.talk import Talk, run_cli
from installer.trust.rootmedia import read_roots
from installer.trust.store import update
from installer.upgrade import Request, rollback
from installer.verification import verify
from tests.contract.driver import file_host, world_of

KILL_AT = "SEALIFT_TEST_KILL_AT"
"""Names the step with whose beginning the process ends."""
SITE = """\
site: hall
channel: stable
registry: {{bundled: {{listen: "127.0.0.1:5999"}}}}
entry_points:
  web: {{bind: "127.0.0.1:8080"}}
  admin: {{bind: "127.0.0.1:8081"}}
  lunch/web: {{bind: "127.0.0.1:8090"}}
  lunch/admin: {{bind: "127.0.0.1:8091"}}
preview: {{bind: 127.0.0.1, ports: 18000-18099}}
network: {{subnet: 10.213.0.0/16}}
timing: {{health: 0s, settle: 0s, bake: 0s, drain: 0s}}
strategy: {strategy}
keep: {keep}
"""


def settle(folder: Path, strategy: str = "blue-green", keep: int = 2) -> Path:
    """An empty site below ``folder``; returns its state dir."""
    state = folder / "state"
    state.mkdir(parents=True, mode=0o700)
    (folder / "site.yaml").write_text(SITE.format(strategy=strategy, keep=keep))
    return state


def app(args: Sequence[str], prog_name: str, standalone_mode: bool, obj: Talk) -> int:
    """``install STATE MEDIA [--dry-run]``, ``rollback STATE``, ``remove STATE [PRODUCT]``, and so on."""
    verb, state, *rest = args
    state_dir = Path(state)
    site = state_dir.parent / "site.yaml"
    match verb, rest:
        case "install", [media, *options]:
            wish = Request(state_dir, site, Path(media), dry_run="--dry-run" in options)
            show(obj, install(wish, obj, lambda _: True, file_host))
        case "stage", [media]:
            show(obj, install(Request(state_dir, site, Path(media), stage=True), obj, lambda _: True, file_host))
        case "switch", [*within]:
            trial = float(within[0]) if within else None
            show_outcome(obj, sittings.switch(state_dir, site, obj, None, within=trial, connect=file_host))
        case "unstage", []:
            show_outcome(obj, sittings.unstage(state_dir, site, obj, None, connect=file_host))
        case "confirm", []:
            show_outcome(obj, sittings.confirm(state_dir, site, obj, None, connect=file_host))
        case "expire", []:
            sittings.expire(state_dir, site, obj, connect=file_host)
        case "rollback", []:
            show_outcome(obj, rollback(state_dir, site, obj, to=None, product=None, dry_run=False, connect=file_host))
        case _:
            _look_after(verb, rest, state_dir, site, obj)
    return 0


def _look_after(verb: str, rest: Sequence[str], state_dir: Path, site: Path, obj: Talk) -> None:
    """What brings nothing in: ``receipt --out FILE``, ``remove [PRODUCT]``, ``prune KEEP``, ``trust-update PATH…``."""
    match verb, rest:
        case "verify", [media]:
            verify(Path(media), state_dir, obj)
        case "receipt", ["--out", out]:
            made = make_receipt(state_dir, site, Path(out), obj, connect=file_host)
            obj.result(made.table(), made.as_json())
        case "remove", [*product]:
            gone = remove(state_dir, site, obj, next(iter(product), None), volumes=True, connect=file_host)
            obj.result(f"removed {gone}", {"removed": gone})
        case "prune", [keep]:
            prune(state_dir, site, obj, None, keep=int(keep), dry_run=False, connect=file_host)
        case "prune-engine", []:
            world_of(state_dir).prune()
        case "trust-update", paths:
            with locked(state_dir, "trust update"):
                update(state_dir, read_roots(list(map(Path, paths))))
        case _:
            raise SystemExit(2)


def main(words: Sequence[str], *, last: bool = False) -> int:
    """Run one verb to its exit code."""
    return run_cli(app, list(words), program="sealift", last=last)


def die_at(step: str) -> None:
    """End this process as the step begins, as a kill would: nobody from outside strikes so exactly."""
    real = Journal.write

    def write(journal: Journal, run: str, event: Event, name: str = "", detail: object = None) -> None:
        real(journal, run, event, name, detail)
        if event == "step-begin" and name.startswith(step):
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(Journal, "write", write)  # noqa: B010 - in this process alone


if __name__ == "__main__":
    if KILL_AT in os.environ:
        die_at(os.environ[KILL_AT])
    sys.exit(main(sys.argv[1:], last=True))
