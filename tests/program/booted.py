"""A host where systemd is the first process: a container that boots, with the machine's engine and network."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import docker

from tests.e2e.site.host import Site
from tests.program.hosts import mirror

_PACKAGES: Final = "systemd,systemd-sysv,dbus,iproute2,procps"
_NOT_OURS: Final = ("systemd-sysctl.service", "apt-daily.timer", "apt-daily-upgrade.timer", "fstrim.timer")
"""What would change the machine that lends its kernel, or ask for the network."""
ENGINE: Final = "/engine.sock"


def boots(cache: Path) -> Path:
    """A root filesystem of Debian 12 that boots. Made once, never written to."""
    folder = cache / "rootfs" / "program-systemd"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            unfinished = folder.with_suffix(".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            small = ["--quiet", "--mode=root", "--variant=minbase", f"--include={_PACKAGES}", "bookworm"]
            subprocess.run(["mmdebstrap", *small, unfinished, mirror()], check=True, capture_output=True)
            for unit in _NOT_OURS:
                (unfinished / "etc/systemd/system" / unit).symlink_to("/dev/null")
            unfinished.rename(folder)
    return folder


@dataclass
class BootedHost:
    """A host called ``name`` on ``engine``, which it reaches at :data:`ENGINE`. It sees each of ``folders``."""

    engine: docker.DockerClient
    name: str
    folders: tuple[Path, ...]

    @property
    def image(self) -> str:
        return f"sealift-test/{self.name}:1"

    def install(self, root: Path, programs: dict[Path, str]) -> None:
        """Bring the root filesystem in, boot it, and have ``programs`` at their places in it."""
        words = ["docker", "import", "--change", 'CMD ["/sbin/init"]', "-", self.image]
        with subprocess.Popen(["tar", "-C", root, "-c", "."], stdout=subprocess.PIPE) as tar:
            subprocess.run(words, stdin=tar.stdout, check=True, capture_output=True)
        socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
        mounts = {socket: ENGINE} | {str(one): str(one) for one in self.folders}
        binds = [f"{source}:{place}" for source, place in mounts.items()]
        binds += [f"{source}:{place}:ro" for source, place in programs.items()]
        self.engine.containers.create(
            self.image,
            name=self.name,
            privileged=True,
            network_mode="host",
            tmpfs=dict.fromkeys(("/run", "/run/lock", "/tmp"), ""),
            volumes=binds,
        )
        self.boot()

    def boot(self) -> None:
        """Switch it on; returns when all of it is up."""
        self.engine.containers.get(self.name).start()
        deadline = time.monotonic() + 60
        while (said := self.run("systemctl", "is-system-running").stdout.strip()) != "running":
            assert time.monotonic() < deadline, said + self.run("systemctl", "--failed").stdout
            time.sleep(0.2)

    def pull_the_plug(self) -> None:
        """All of its processes are gone at once."""
        self.engine.containers.get(self.name).kill()

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A command on the host."""
        return subprocess.run(["docker", "exec", self.name, *words], capture_output=True, text=True, check=False)

    def end(self) -> None:
        """Take it off the engine."""
        for item in self.engine.containers.list(all=True, filters={"name": f"^/?{self.name}$"}):
            item.remove(force=True, v=True)
        self.engine.images.remove(self.image, force=True)


@dataclass
class BootedSite(Site):
    """A site whose program is the shipped one, run on such a host."""

    host: Callable[[], BootedHost] = field(default=lambda: BootedHost(docker.from_env(), "", ()))
    program: str = "sealift"

    def start(self, *words: str) -> subprocess.Popen[str]:
        own = {"SEALIFT_STATE_DIR": self.state, "SEALIFT_SITE": self.site_file}
        settings = [word for name, value in own.items() for word in ("--env", f"{name}={value}")]
        return subprocess.Popen(
            ["docker", "exec", *settings, self.host().name, *self.program.split(), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
