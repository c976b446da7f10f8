"""An engine of a test's own, to be stopped, killed and started again while the shared one goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import docker
from docker.errors import NotFound


@dataclass
class OwnEngine:
    """``live_restore``: containers survive it. Everything of it lies below ``folder``, which must be short."""

    folder: Path
    live_restore: bool
    _process: subprocess.Popen[bytes] | None = None
    _client: docker.DockerClient | None = field(default=None)

    @property
    def endpoint(self) -> str:
        return f"unix://{self.folder}/sock"

    @property
    def client(self) -> docker.DockerClient:
        if self._client is None:
            self._client = docker.DockerClient(base_url=self.endpoint, timeout=60)
        return self._client

    def start(self) -> None:
        """Return when it answers."""
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "pid").unlink(missing_ok=True)
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *("dockerd", "--host", self.endpoint, "--data-root", self.folder / "data"),
                    *("--exec-root", self.folder / "exec", "--pidfile", self.folder / "pid"),
                    *("--bridge", "none", "--iptables=false", "--ip6tables=false"),
                    *(["--live-restore"] if self.live_restore else []),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + 60
        while True:
            try:
                self.client.ping()
                return
            except Exception:
                assert self._process.poll() is None and time.monotonic() < deadline, (self.folder / "log").read_text()
                time.sleep(0.1)

    def stop(self, number: signal.Signals) -> None:
        """SIGTERM is what a service manager sends, SIGKILL what the kernel does when memory is short."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60)

    def power_cut(self) -> None:
        """Engine, its helpers and all containers are gone at once."""
        pids = [int(item.attrs["State"]["Pid"]) for item in self.client.containers.list()]
        victims = [pid for pid in pids if pid]  # 0 while one is started again: that would be all of us
        self.stop(signal.SIGKILL)
        for pid in [*victims, *self._helpers()]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        deadline = time.monotonic() + 20
        while any(Path(f"/proc/{pid}").exists() and _lives(pid) for pid in victims) and time.monotonic() < deadline:
            time.sleep(0.05)

    def end(self) -> None:
        """Leave nothing behind: containers, processes, mounts."""
        if self._process is not None and self._process.poll() is not None:
            self.start()
        for item in self.client.containers.list(all=True):
            with suppress(NotFound):
                item.remove(force=True, v=True)
        self.client.networks.prune()
        self.stop(signal.SIGTERM)
        for pid in self._helpers():
            os.kill(pid, signal.SIGKILL)
        self.client.close()
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for place in reversed([one for one in mounts if one.startswith(f"{self.folder}/")]):
            subprocess.run(["umount", "--lazy", place], check=True)

    def _helpers(self) -> list[int]:
        """containerd and its shims: they name our folder on their command lines."""
        mark = f"{self.folder}/exec/".encode()
        found = []
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (place / "cmdline").read_bytes():
                    found.append(int(place.name))
            except OSError:
                continue
        return found


def _lives(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
