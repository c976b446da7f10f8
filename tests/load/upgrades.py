"""Every way to change what serves, under load, alone on the machine: the figures of docs/upgrades.md (``make load``).

The front door tries nothing twice (``retries: 0``), the load tries nothing twice, and each way gets 10,000 requests at
least on kept-alive connections, and as many on new ones. Exit code 1 where a figure falls short.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Final

from tests.demo import demo
from tests.demo.stage import CACHE, REPOSITORY, SITE, Failed, Stage
from tests.e2e.site.vendor import relabelled
from tests.load.load import Load, build_load

ENOUGH: Final = 10_000
LEAST: Final = 40.0
"""Seconds that the load lasts at least: 350 requests of each kind in each."""
_LOAD: Final = ("-http", demo.DOOR, "-tcp", demo.RELAY, "-keep-alive-rate", "350", "-new-rate", "350", "-new", "8")


def main() -> int:
    """Play all ways; 0 if every figure is good."""
    began, stage, good = time.monotonic(), Stage(), False
    try:
        demo.at_the_vendor(stage)
        _first(stage)
        for release in ("2.1.0", "2.1.1", "2.2.0"):
            demo.make_images(stage, release)
        demo.build(stage, "2.1.0")
        demo.build(stage, "2.2.0")
        _build_with_newer_door(stage, "2.1.1")
        _blue_green(stage)
        _way(stage, "rollback", "sealift rollback", "2.0.0", until="drain")
        rolling = "sealift install stick/lan-chat-v2.1.0 --strategy rolling --yes"
        _way(stage, "rolling", rolling, "2.1.0", until="drain-1", moved=True)
        _way(stage, "failed upgrade", "sealift install stick/lan-chat-v2.2.0 --yes", "2.1.0", until=None, expect=10)
        _way(stage, "newer front door", "sealift install stick/lan-chat-v2.1.1 --yes", "2.1.1", until="drain")
        good = stage.close_table(time.monotonic() - began)
    except Failed as failure:
        print(f"\nx {failure}", file=sys.stderr)
    finally:
        demo.leave(stage)
    print("the figures are " + ("green" if good else "RED"))
    return 0 if good else 1


def _first(stage: Stage) -> None:
    host = stage.work / "host"
    (host / "secrets").mkdir(parents=True, mode=0o700)
    (host / "secrets/db").write_text("of this run")
    (host / "secrets/db").chmod(0o600)
    (host / "site.yaml").write_text(SITE.replace("host/secrets", str(host / "secrets")))
    fingerprint = subprocess.run(
        ["sha256sum", stage.work / "vendor/root.json"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    stick = "sh stick/lan-chat-v2.0.0/install"
    stage.run(f"{stick} trust init vendor/root.json --fingerprint sha256:{fingerprint}")
    stage.run(f"{stick} --yes")


def _build_with_newer_door(stage: Stage, release: str) -> None:
    """The sample product with the same HAProxy as an image of a higher version."""
    place = stage.work / "vendor/source"
    for name in ("manifests/lan-chat", "templates/lan-chat"):
        shutil.copytree(REPOSITORY / name, place / name)
    layout = relabelled(CACHE / "edge/haproxy-layout", stage.work / "vendor/haproxy-layout", "99.1")
    manifest = place / "manifests/lan-chat/release.yaml"
    manifest.write_text(manifest.read_text().replace("oci:dist/edge/haproxy", f"oci:{layout}"))
    stage.run(f"bundle build v{release} --manifest {manifest} --output vendor/out")
    stage.run(f"cp -r vendor/out/lan-chat-v{release} stick/")


def _blue_green(stage: Stage) -> None:
    """With 50 WebSocket and 50 TCP sessions, which nobody may drop before the drain time is over."""
    stage.title("blue-green, 50 WebSocket and 50 TCP sessions")
    with _load(stage, "-websockets", "50", "-tcp-sessions", "50") as running:
        stage.run("sealift install stick/lan-chat-v2.1.0 --strategy blue-green --yes")
    report = running.report
    _judge(stage, "blue-green", report, "2.1.0")
    _sessions(stage, "blue-green", report, "drain", 50)
    started = _began(report)
    switched = demo.step_times(stage, "switch")[1]
    after = [second for second in report["timeline"] if started + second["second"] > switched]
    late = sum(second["versions"].get("2.0.0", 0) for second in after)
    stage.figure("blue-green: answers of the old one in the seconds after the switch returned", str(late), not late)


def _way(
    stage: Stage, what: str, command: str, serves: str, *, until: str | None, expect: int = 0, moved: bool = False
) -> None:
    """``until``: the step to whose end every session is kept; None: they are not touched at all."""
    stage.title(what)
    with _load(stage) as running:
        stage.run(command, expect=expect)
    _judge(stage, what, running.report, serves)
    _sessions(stage, what, running.report, until, 10)
    if moved:
        both = {item["version"] for item in running.report["versions"]}
        stage.figure(f"{what}: releases that answered", ", ".join(sorted(both)), len(both) == 2)


def _sessions(stage: Stage, what: str, report: dict[str, Any], until: str | None, wanted: int) -> None:
    """How many of the sessions that were held at the beginning lasted until that step had ended."""
    end = demo.step_times(stage, until)[1] - _began(report) if until else float("inf")
    for kind in ("websocket", "tcp"):
        early = [drop for drop in report["drops"] if drop["kind"] == kind and drop["at"] < end]
        where = f"until {until} had ended" if until else "to the end"
        kept = f"{wanted - len(early)} of {wanted}"
        stage.figure(f"{what}: {kind} sessions {where}", kept, not early and report[kind]["opened"] >= wanted)


def _began(report: dict[str, Any]) -> float:
    """In seconds since 1970."""
    return datetime.fromisoformat(report["started"][:26] + "+00:00").timestamp()


@contextmanager
def _load(stage: Stage, *more: str) -> Iterator[Load]:
    began = time.monotonic()
    sessions = more or ("-websockets", "10", "-tcp-sessions", "10", "-reopen")
    with Load(build_load(CACHE), *_LOAD, *sessions) as running:
        yield running
        time.sleep(max(2.0, began + LEAST - time.monotonic()))
        running.stop()


def _judge(stage: Stage, what: str, report: dict[str, Any], serves: str) -> None:
    for failure in report["failures"][:5]:
        stage.note(f"failed: {json.dumps(failure)}")
    kept_alive, new = report["kept_alive"], report["new"]
    stage.figure(
        f"{what}: failed of requests kept alive + new",
        f"{kept_alive['failed']} + {new['failed']} of {kept_alive['sent']} + {new['sent']}",
        not report["failed"] and min(kept_alive["sent"], new["sent"]) >= ENOUGH,
    )
    now = demo.version(stage)
    if now != serves:
        stage.figure(f"{what}: serves afterwards", now, False)


if __name__ == "__main__":
    sys.exit(main())
