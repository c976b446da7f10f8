"""Build, sign, carry, verify, load, upgrade under load, refuse, survive a kill, go back: told as a story, in order."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from installer.state.journal import Journal
from tests.demo.stage import CACHE, INSTALLER_GROUP, REPOSITORY, SITE, Failed, PacketCount, Stage
from tests.load.load import Load, build_load

DOOR, RELAY = "127.0.0.1:18080", "127.0.0.1:19000"
ENOUGH = 10_000  # requests, in all


def main() -> int:
    """Play the demonstration; 0 if every figure is good."""
    began = time.monotonic()
    stage = Stage()
    good = False
    try:
        play(stage)
        good = stage.close_table(time.monotonic() - began)
    except Failed as failure:
        print(f"\nx {failure}", file=sys.stderr)
    finally:
        leave(stage)
    print("the demonstration is " + ("green" if good else "RED"))
    return 0 if good else 1


def play(stage: Stage) -> None:
    """The acts, in order."""
    at_the_vendor(stage)
    first_installation(stage)
    signature_by_hand(stage)
    upgrade_under_load(stage)
    altered_media(stage)
    killed_in_the_middle(stage)
    failing_release(stage)
    going_back(stage)


def at_the_vendor(stage: Stage) -> None:
    stage.title("at the vendor: keys, a root of trust, a bundle")
    make_images(stage, "2.0.0")
    stage.run("bundle keygen --out vendor --name root && bundle keygen --out vendor --name release")
    stage.run("bundle trust init --root-key vendor/root.key --release-key vendor/release.pub --out vendor/root.json")
    build(stage, "2.0.0")
    stage.run("ls -l stick/lan-chat-v2.0.0")


def first_installation(stage: Stage) -> None:
    stage.title("at the site: an empty host, a stick, no network")
    host = stage.work / "host"
    (host / "secrets").mkdir(parents=True, mode=0o700)
    (host / "secrets/db").write_text(os.urandom(16).hex())
    (host / "secrets/db").chmod(0o600)
    (host / "site.yaml").write_text(SITE.replace("host/secrets", str(host / "secrets")))
    stage.run("cat host/site.yaml")
    fingerprint = subprocess.run(
        ["sha256sum", stage.work / "vendor/root.json"], capture_output=True, text=True, check=True
    ).stdout.split()[0]
    stage.note("the fingerprint came on paper, not on the stick")
    with PacketCount() as packets:
        as_site = f"setpriv --regid {INSTALLER_GROUP} --clear-groups --"
        for line in (
            f"sh stick/lan-chat-v2.0.0/install trust init vendor/root.json --fingerprint sha256:{fingerprint}",
            "sh stick/lan-chat-v2.0.0/install --verify --strategy blue-green --yes",
        ):
            stage.run(f"{as_site} {line}", shown=line)
        sent = packets.read()
    stage.figure(
        "packets that left the machine during the first installation",
        ", ".join(f"{who} {count}" for who, count in sent.items()),
        not any(sent.values()),
    )
    stage.run(f"curl -s http://{DOOR}/api/ping; echo")
    stage.run("sealift status")


def signature_by_hand(stage: Stage) -> None:
    stage.title("the signature, checked by openssl before your eyes")
    stage.run("mkdir look && tar --zstd -xf stick/lan-chat-v2.0.0/*.bundle.tar.zst -C look release.json signatures")
    stage.run("jq -r .messageSignature.signature look/signatures/*.sigstore.json | base64 -d > look/release.sig")
    answer = stage.run(
        "openssl dgst -sha256 -verify vendor/release.pub -signature look/release.sig look/release.json", capture=True
    )
    stage.figure("openssl says of the signature over release.json", answer.strip(), answer.strip() == "Verified OK")


def upgrade_under_load(stage: Stage) -> None:
    stage.title("2.1.0 comes while people work: two independent loads, sessions held across the switch")
    make_images(stage, "2.1.0")
    build(stage, "2.1.0")
    wrk = subprocess.Popen(["wrk", "-t1", "-c2", "-d45s", f"http://{DOOR}/api/ping"], stdout=subprocess.PIPE, text=True)
    stage.note(f"wrk -t1 -c2 -d45s http://{DOOR}/api/ping, and our own load: 20 WebSocket and 20 TCP sessions")
    with load(stage) as running:
        stage.run("sealift install stick/lan-chat-v2.1.0 --strategy blue-green --yes")
        time.sleep(2)
        report = running.stop()
    said = wrk.communicate()[0]
    print(said)
    trouble = [line.strip() for line in said.splitlines() if "Non-2xx" in line or "Socket errors" in line]
    by_wrk = int(next(line.split()[0] for line in said.splitlines() if "requests in" in line))
    stage.figure("wrk: requests, failed", f"{by_wrk}, {trouble[0] if trouble else 0}", not trouble and by_wrk > 0)
    judge_load(stage, report, "upgrade to 2.1.0")
    kept_alive, new = report["kept_alive"]["sent"], report["new"]["sent"]
    stage.figure(
        "requests during the upgrade (wrk, kept alive, new connections)",
        f"{by_wrk} + {kept_alive} + {new}",
        by_wrk + kept_alive + new >= ENOUGH,
    )
    versions = [item["version"] for item in report["versions"]]
    stage.figure("versions that answered, in order", " -> ".join(versions), versions == ["2.0.0", "2.1.0"])
    judge_sessions(stage, report)


def altered_media(stage: Stage) -> None:
    stage.title("one byte of a copy is flipped")
    stage.run("cp -r stick/lan-chat-v2.1.0 stick/altered")
    bundle = next((stage.work / "stick/altered").glob("*.bundle.tar.zst"))
    stage.run(
        f"printf '\\x5a' | dd of={bundle.relative_to(stage.work)} bs=1 seek={bundle.stat().st_size // 2} "
        "conv=notrunc status=none"
    )
    stage.run("sealift verify stick/altered", expect=4)
    stage.figure("altered copy", "refused, exit code 4", True)
    stage.run("rm -r stick/altered")


def killed_in_the_middle(stage: Stage) -> None:
    stage.title("the upgrade to 2.1.1 is killed with -9 in the middle, and run again")
    make_images(stage, "2.1.1")
    build(stage, "2.1.1")
    with load(stage) as running:
        process = stage.start("sealift install stick/lan-chat-v2.1.1 --yes")
        kill_at(stage, process, "health")
        stage.run("sealift status")
        stage.run("sealift install stick/lan-chat-v2.1.1 --yes")
        report = running.stop()
    judge_load(stage, report, "upgrade to 2.1.1, killed and run again")
    serving = version(stage)
    stage.figure("after the kill and the second run", f"{serving} serves", serving == "2.1.1")


def failing_release(stage: Stage) -> None:
    stage.title("2.2.0 turns healthy and fails its smoke test: 2.1.1 goes on")
    make_images(stage, "2.2.0")
    build(stage, "2.2.0")
    with load(stage) as running:
        stage.run("sealift install stick/lan-chat-v2.2.0 --yes", expect=10)
        report = running.stop()
    judge_load(stage, report, "failed upgrade to 2.2.0")
    serving = version(stage)
    dropped = report["sessions_dropped"]
    stage.figure(
        "after the failed upgrade", f"{serving} serves, {dropped} sessions dropped", serving == "2.1.1" and not dropped
    )


def going_back(stage: Stage) -> None:
    stage.title("back to 2.1.0, without the media")
    stage.run("mv stick stick-is-in-the-drawer")
    with load(stage) as running:
        began = time.monotonic()
        stage.run("sealift rollback")
        whole = time.monotonic() - began
        report = running.stop()
    judge_load(stage, report, "rollback")
    until_switch = seconds_to_switch(stage)
    stage.figure(
        "rollback: seconds until 2.1.0 served (then watched and drained)",
        f"{until_switch:.1f} s ({whole:.1f} s in all)",
        version(stage) == "2.1.0",
    )
    stage.run("sealift history")


def make_images(stage: Stage, release: str) -> None:
    """The vendor's own build of the product's images; not part of sealift."""
    script = "manifests/lan-chat/images/build"
    stage.run(f"{script} {release}", cwd=REPOSITORY)


def build(stage: Stage, release: str) -> None:
    stage.run(
        f"bundle build v{release} --output {stage.work}/vendor/out", cwd=REPOSITORY, shown=f"bundle build v{release}"
    )
    stage.run(f"mkdir -p stick && cp -r vendor/out/lan-chat-v{release} stick/ && rm -r vendor/out/lan-chat-v{release}")


def load(stage: Stage) -> Load:
    stage.note("our load: requests on kept-alive and on new connections, 20 WebSocket and 20 TCP sessions, no retries")
    return Load(build_load(CACHE), "-http", DOOR, "-tcp", RELAY, "-keep-alive-rate", "200", "-new-rate", "50")


def judge_load(stage: Stage, report: dict[str, Any], when: str) -> None:
    for failure in report["failures"][:5]:
        stage.note(f"failed: {json.dumps(failure)}")
    stage.figure(
        f"{when}: failed of our load's requests", f"{report['failed']} of {report['requests']}", not report["failed"]
    )


def judge_sessions(stage: Stage, report: dict[str, Any]) -> None:
    """No session may end before the drain time does."""
    ended = step_times(stage, "drain")[1]
    started = datetime.fromisoformat(report["started"][:26] + "+00:00").timestamp()
    early = [drop for drop in report["drops"] if started + drop["at"] < ended]
    held = report["websocket"]["opened"] + report["tcp"]["opened"] - report["sessions_not_opened"]
    stage.figure(
        "sessions held across the switch, dropped before the drain time ended",
        f"{held}, {len(early)}",
        held == 40 and not early,
    )


def kill_at(stage: Stage, process: subprocess.Popen[bytes], step: str) -> None:
    """Kill the run as soon as its journal says that ``step`` has begun."""
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        run = Journal(stage.work / "host/state").unfinished()
        if run is not None and step in run.begun:
            break
        time.sleep(0.05)
    if process.poll() is not None:
        raise Failed(f"the run ended before its step {step}")
    stage.run(f"kill -9 {process.pid}")
    process.wait()
    stage.figure(
        f"killed during the step {step}", f"signal {-process.returncode}", process.returncode == -signal.SIGKILL
    )


def version(stage: Stage) -> str:
    answer = subprocess.run(["curl", "-s", f"http://{DOOR}/api/ping"], capture_output=True, text=True, check=True)
    return str(json.loads(answer.stdout)["version"])


def step_times(stage: Stage, step: str) -> tuple[float, float]:
    """When a step of the last run began and ended, in seconds since 1970."""
    lines = [entry for entry in Journal(stage.work / "host/state").entries() if entry.step == step]
    begin, done = lines[-2], lines[-1]
    return datetime.fromisoformat(begin.at).timestamp(), datetime.fromisoformat(done.at).timestamp()


def seconds_to_switch(stage: Stage) -> float:
    run = Journal(stage.work / "host/state").runs()[-1]
    return step_times(stage, "switch")[1] - datetime.fromisoformat(run.began).timestamp()


def leave(stage: Stage) -> None:
    """Take everything off again, unless it is to stay."""
    if os.environ.get("KEEP") == "1":
        print(f"\nleft running: http://{DOOR}/ (files in {stage.work}; take it off with:")
        print(f"  SEALIFT_STATE_DIR={stage.work}/host/state SEALIFT_SITE={stage.work}/host/site.yaml \\")
        print(f"    {stage.work}/host/usr/bin/sealift remove --yes --volumes)")
        return
    state = Path(stage.environment["SEALIFT_STATE_DIR"])
    if (state / "state.a").exists() or (state / "state.b").exists():
        subprocess.run(
            [stage.work / "host/usr/bin/sealift", "--quiet", "remove", "--yes", "--volumes"],
            env=stage.environment,
            stdout=subprocess.DEVNULL,
            check=False,
        )
    stage.leave()


if __name__ == "__main__":
    sys.exit(main())
