"""The load tool as tests and the demonstration use it: compiled once, started, stopped, its report read."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

SOURCES = Path(__file__).resolve().parent / "src"
GOCODE = "/usr/share/gocode"  # where Debian's -dev packages of Go libraries are


def build_load(cache: Path) -> Path:
    """Compile the tool into the wide cache unless it is there; returns the program.

    Raises `subprocess.CalledProcessError` when it can't be compiled.
    """
    content = b"".join(path.read_bytes() for path in sorted(SOURCES.rglob("*.go")))
    program = cache / "load" / hashlib.sha256(content).hexdigest()[:16] / "load"
    if program.exists():
        return program
    program.parent.mkdir(parents=True, exist_ok=True)
    go = shutil.which("go") or shutil.which("go", path="/usr/lib/go/bin:/usr/local/go/bin") or "go"
    environment = os.environ | {
        "GO111MODULE": "off",
        "GOPATH": f"{SOURCES.parent}:{GOCODE}",
        "GOCACHE": str(cache / "go-build"),
        "GOFLAGS": "",
        "GOTOOLCHAIN": "local",
        "CGO_ENABLED": "0",
    }
    unfinished = program.with_name(f"load.{os.getpid()}")
    command = [go, "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", str(unfinished), "load"]
    subprocess.run(command, check=True, env=environment)
    unfinished.rename(program)
    return program


class Load:
    """A load that runs until it is stopped.

    Use it in a `with` statement: entering waits until all sessions have answered, leaving stops it. `report` is what
    the tool printed, there after `stop`.
    """

    def __init__(self, program: Path, *options: str) -> None:
        self.report: dict[str, Any] = {}
        self._process = subprocess.Popen([program, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def __enter__(self) -> Self:
        self.wait_ready()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def wait_ready(self) -> None:
        """Wait until each session has answered once, or could not be opened; raises `RuntimeError` if it ends first."""
        assert self._process.stderr is not None
        line = self._process.stderr.readline()
        if line != "ready\n":
            raise RuntimeError(f"the load ended early: {line}{self._process.stderr.read()}")

    def stop(self) -> dict[str, Any]:
        """End it and return its report; raises `RuntimeError` if there is none."""
        if self._process.poll() is None and not self.report:
            self._process.send_signal(signal.SIGTERM)
        if not self.report:
            self.wait()
        return self.report

    def wait(self) -> dict[str, Any]:
        """Wait until its duration is over and return its report; raises `RuntimeError` if there is none."""
        talk, errors = self._process.communicate(timeout=600)
        if self._process.returncode != 0:
            raise RuntimeError(f"the load failed: {errors}")
        self.report = json.loads(talk)
        return self.report
