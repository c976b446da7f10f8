"""The demonstration's stage: folders for vendor, stick and host; commands echoed as a person types them."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CACHE = Path(
    os.environ.get("SEALIFT_CACHE") or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sealift"
)
INSTALLER_GROUP = "61234"  # a group of its own, so that the kernel can count the installer's packets
SUBNET = "10.213.0.0/16"
_MARK = "sealift demonstration:"

SITE = f"""\
site: hospital-7
cluster_id: h7
registry: {{bundled: {{listen: "127.0.0.1:15000"}}}}
entry_points:
  web: {{bind: "127.0.0.1:18080"}}
  relay: {{bind: "127.0.0.1:19000"}}
preview: {{bind: 127.0.0.1, ports: 18100-18149}}
network: {{subnet: {SUBNET}}}
values: {{smtp.host: "", session_seconds: 1}}
secrets: {{db: {{file: host/secrets/db}}}}
timing: {{health: 90s, bake: 10s, drain: 10s}}
edge: {{retries: 0}}
"""


class Failed(Exception):
    """A figure that fell short, or a command that ended otherwise than it must."""


class Stage:
    """Runs commands in ``work`` and remembers figures for the closing table."""

    def __init__(self) -> None:
        self.work = Path(tempfile.mkdtemp(prefix="sealift-demo-", dir="/var/tmp"))
        self.colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self.figures: list[tuple[str, str, bool]] = []
        self.environment = os.environ | {
            "PATH": f"{REPOSITORY}/.venv/bin:{self.work}/host/usr/bin:{os.environ['PATH']}",
            "SEALIFT_PREFIX": str(self.work / "host/usr"),
            "SEALIFT_STATE_DIR": str(self.work / "host/state"),
            "SEALIFT_SITE": str(self.work / "host/site.yaml"),
            "SEALIFT_PASSPHRASE": "only for this demonstration",
            "SEALIFT_KEY": str(self.work / "vendor/release.key"),
        }

    def title(self, text: str) -> None:
        """A headline of the story."""
        print(f"\n{self._paint('1;36', '== ' + text)}", flush=True)

    def note(self, text: str) -> None:
        """A line of explanation."""
        print(self._paint("2", f"   {text}"), flush=True)

    def figure(self, what: str, value: str, good: bool) -> None:
        """Keep a figure; a bad one turns the demonstration red at the end."""
        self.figures.append((what, value, good))
        print(f"   {self._paint('32' if good else '1;31', '+' if good else 'x')} {what}: {value}", flush=True)

    def run(
        self, command: str, *, expect: int = 0, capture: bool = False, cwd: Path | None = None, shown: str | None = None
    ) -> str:
        """Echo ``command`` and run it by the shell; returns its output where it is captured. Raises :class:`Failed`."""
        print(f"{self._paint('1', '$ ' + (shown or command))}", flush=True)
        done = subprocess.run(
            command,
            shell=True,
            executable="/bin/bash",
            cwd=cwd or self.work,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else None,
            text=True,
            check=False,
        )
        if done.returncode != expect:
            raise Failed(f"exit code {done.returncode} instead of {expect} from: {command}")
        return done.stdout or ""

    def start(self, command: str) -> subprocess.Popen[bytes]:
        """Echo ``command`` and start it in a process group of its own."""
        print(f"{self._paint('1', '$ ' + command + ' &')}", flush=True)
        return subprocess.Popen(
            shlex.split(command), cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL, start_new_session=True
        )

    def ask(self, command: str) -> dict[str, Any]:
        """Run a ``--json`` command without echo."""
        done = subprocess.run(
            shlex.split(command), cwd=self.work, env=self.environment, capture_output=True, text=True, check=False
        )
        value: dict[str, Any] = json.loads(done.stdout)
        return value

    def close_table(self, seconds: float) -> bool:
        """Show all figures; True if all are good."""
        width = max(len(what) for what, _, _ in self.figures)
        print(f"\n{self._paint('1;36', '== the figures of this run')}")
        for what, value, good in self.figures:
            print(f"   {what.ljust(width)}  {self._paint('32' if good else '1;31', value)}")
        print(f"   {'whole demonstration'.ljust(width)}  {seconds:.0f} s", flush=True)
        return all(good for _, _, good in self.figures)

    def leave(self) -> None:
        """Take the folder away."""
        shutil.rmtree(self.work, ignore_errors=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\033[{code}m{text}\033[0m" if self.colour else text


class PacketCount:
    """Counts packets that the installer, its services and the product's containers send out of this machine.

    Out means through an interface with a device behind it; bridges of the engine and loopback stay inside.
    """

    def __init__(self) -> None:
        uplinks = sorted(path.name for path in Path("/sys/class/net").iterdir() if (path / "device").exists())
        by_owner = {"installer": ("--gid-owner", INSTALLER_GROUP), "front door and registry": ("--uid-owner", "10001")}
        self._rules: list[tuple[str, ...]] = []
        for uplink in uplinks:
            for who, owner in by_owner.items():
                self._rules.append(("OUTPUT", "-o", uplink, "-m", "owner", *owner, *_comment(who)))
            self._rules.append(("FORWARD", "-o", uplink, "-s", SUBNET, *_comment("containers")))
        self.who = (*by_owner, "containers")

    def __enter__(self) -> PacketCount:
        for rule in self._rules:
            _iptables("-I", *rule)
        return self

    def __exit__(self, *_: object) -> None:
        for rule in self._rules:
            _iptables("-D", *rule, check=False)

    def read(self) -> dict[str, int]:
        """Packets so far, by who sent them. The engine puts rules of its own on top, so ours are known by comment."""
        lines = [line for chain in ("OUTPUT", "FORWARD") for line in _iptables("-L", chain, "-vxn").splitlines()]
        return {who: sum(int(line.split()[0]) for line in lines if f"/* {_MARK} {who} */" in line) for who in self.who}


def _comment(who: str) -> tuple[str, ...]:
    return ("-m", "comment", "--comment", f"{_MARK} {who}")


def _iptables(*arguments: str, check: bool = True) -> str:
    command = ["iptables", "-w", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=check).stdout
