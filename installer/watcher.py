"""What brings an old release back by itself, when nobody confirmed the new one: it outlives us, and a reboot.

Where systemd runs, a timer asks every few seconds whether the time is up; else a container does, which the engine keeps
up. It is made of the front door's image, which is here already, and of this host: it changes into the host's own root
and runs our program there.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from installer.commands import Command
from installer.durable import write_durably
from installer.errors import ExitCode
from installer.site.names import Names
from installer.system import Finished

SYSTEMD: Final = Path("/run/systemd/system")
"""Is there where systemd is the init system (sd_booted(3))."""
UNITS: Final = Path("/etc/systemd/system")
INSIDE: Final = "SEALIFT_WATCHER"
"""Names what looks, where it is what we are started by."""
EVERY: Final = 5
"""Seconds between two looks."""
_MAPS: Final = Path("/proc/self/maps")
_LIBRARY: Final = re.compile(r" (/\S+/([^/\s]+\.so[^/\s]*))$", re.MULTILINE)
_NEEDED: Final = ("libc", "libm", "libz", "libexpat", "libpython")
_ENTER: Final = (
    "import os,sys;os.chroot('/host');os.chdir('/');os.environ.pop('PYTHONHOME');os.execv(sys.argv[1],sys.argv[1:])"
)

Run = Callable[..., Finished]


class Watcher(Protocol):
    """``kind`` says to people what looks after them."""

    @property
    def kind(self) -> str: ...

    def arm(self, site_file: str) -> None:
        """Look from now on; nothing changes where that is so."""

    def disarm(self) -> None:
        """Look no more; fine where nobody does."""


@dataclass(frozen=True)
class Timer:
    """A timer of systemd, and the service that it starts."""

    names: Names
    state_dir: Path
    run: Run
    units: Path = UNITS

    @property
    def kind(self) -> str:
        return "systemd timer"

    @property
    def unit(self) -> str:
        return f"sealift-confirm{self.names.suffix}"

    def arm(self, site_file: str) -> None:
        words = [*_program(), "expire", "--state-dir", str(self.state_dir), "--site", site_file]
        place = _surroundings() | {INSIDE: self.unit}
        for kind, text in (("service", _service(words, place)), ("timer", _TIMER)):
            write_durably(self.units / f"{self.unit}.{kind}", text.encode(), 0o644)
        self.run(Command(("systemctl", "daemon-reload"), timeout=60.0))
        self.run(Command(("systemctl", "enable", "--now", f"{self.unit}.timer"), timeout=60.0))

    def disarm(self) -> None:
        if not (self.units / f"{self.unit}.timer").exists():
            return
        self.run(Command(("systemctl", "disable", "--now", f"{self.unit}.timer"), timeout=60.0), check=False)
        if os.environ.get(INSIDE) != self.unit:  # one that waits for our lock would fail as a unit that nobody knows
            self.run(Command(("systemctl", "stop", f"{self.unit}.service"), timeout=60.0), check=False)
        for kind in ("timer", "service"):
            (self.units / f"{self.unit}.{kind}").unlink(missing_ok=True)
        self.run(Command(("systemctl", "daemon-reload"), timeout=60.0), check=False)
        self.run(Command(("systemctl", "reset-failed", f"{self.unit}.service"), timeout=60.0), check=False)


@dataclass(frozen=True)
class Container:
    """A small container that the engine keeps up."""

    names: Names
    state_dir: Path
    run: Run
    engine: str
    image_id: str

    @property
    def kind(self) -> str:
        return "container"

    @property
    def name(self) -> str:
        return f"sealift{self.names.suffix}-confirm"

    def arm(self, site_file: str) -> None:
        if self._stands():
            return
        self._remove()
        words = [*_program(), "expire", "--wait", "--state-dir", str(self.state_dir), "--site", site_file]
        loader, libraries = _loader()
        python = Path(sys.executable).resolve()
        variables = _surroundings() | {INSIDE: self.name, "PYTHONHOME": f"/host{sys.base_prefix}"}
        self.run(
            self._docker(
                *("run", "--detach", "--pull", "never", "--name", self.name, "--restart", "always"),
                *("--label", "dev.sealift.role=confirm", "--label", f"dev.sealift.site={self.names.edge}"),
                *("--network", "host", "--pid", "host", "--user", "0:0", "--read-only"),
                *("--mount", "type=bind,source=/,target=/host"),
                *("--log-driver", "json-file", "--log-opt", "max-size=1m", "--log-opt", "max-file=2"),
                *(word for name, text in sorted(variables.items()) for word in ("--env", f"{name}={text}")),
                *("--entrypoint", f"/host{loader}", self.image_id),
                *("--library-path", ":".join(f"/host{folder}" for folder in libraries), f"/host{python}", "-BsS"),
                *("-c", _ENTER, *words),
            )
        )

    def disarm(self) -> None:
        if os.environ.get(INSIDE) == self.name:  # it ends by itself, once all is written down
            self.run(self._docker("update", "--restart", "no", self.name), check=False)
        else:
            self._remove()

    def end(self) -> None:
        """The last thing that the container does."""
        self._remove()

    def _remove(self) -> None:
        self.run(self._docker("rm", "--force", "--volumes", self.name), check=False)

    def _stands(self) -> bool:
        seen = self._docker("inspect", "--format", "{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}", self.name)
        return self.run(seen, check=False).out.split() == ["running", "always"]

    def _docker(self, *words: str) -> Command:
        return Command(("docker", "--host", self.engine, *words), timeout=60.0)


_TIMER: Final = f"""\
[Unit]
Description=sealift: the old release comes back unless the new one is confirmed

[Timer]
OnActiveSec={EVERY}s
OnUnitInactiveSec={EVERY}s
AccuracySec=1s

[Install]
WantedBy=timers.target
"""


def _service(words: list[str], surroundings: Mapping[str, str]) -> str:
    lines = [f"Environment={_quoted(f'{name}={text}')}" for name, text in sorted(surroundings.items())]
    return "\n".join(
        [
            "[Unit]",
            "Description=sealift: is the time of a release on trial up",
            "",
            "[Service]",
            "Type=oneshot",
            f"SuccessExitStatus={ExitCode.LOCKED:d}",  # another run is at work; the next look comes soon
            *lines,
            f"ExecStart={' '.join(map(_quoted, words))}",
            "",
        ]
    )


def _quoted(text: str) -> str:
    """As systemd.syntax(7) wants it; ``%`` and ``$`` mean something there."""
    safe = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{safe}"'


def _program() -> tuple[str, ...]:
    """How this very program is started again, on this host."""
    start = Path(sys.prefix) / "start.sh"
    if start.exists():
        return ("/bin/sh", str(start), "sealift")
    return (sys.executable, "-m", "installer")


def _surroundings() -> dict[str, str]:
    """What it needs to be as we are."""
    here = {"PATH": os.environ.get("PATH") or os.defpath, "HOME": os.environ.get("HOME") or "/root"}
    for name in ("PYTHONPATH", "SEALIFT_PREFIX"):
        if name in os.environ:
            here[name] = os.environ[name]
    return here


def _loader() -> tuple[str, tuple[str, ...]]:
    """The loader that this program was started with, and the folders of the libraries that Python itself needs."""
    found = _LIBRARY.findall(_MAPS.read_text())
    loader = next(path for path, name in found if name.startswith("ld-"))
    needed = [path for path, name in found if name.partition(".so")[0].startswith(_NEEDED)]
    return loader, tuple(dict.fromkeys(str(Path(path).parent) for path in (loader, *needed)))
