"""HAProxy's container, as commands. Nothing here starts one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from installer.commands import Command
from installer.edge.files import CANDIDATE, CONFIG, EDGE_USER
from installer.edge.render import HOME, MASTER_SOCKET
from installer.edge.runtime import EdgeRuntime
from installer.names import Names

ENGINE: Final = "unix:///var/run/docker.sock"
LABEL_ROLE: Final = "dev.sealift.role"
LABEL_SITE: Final = "dev.sealift.site"
_PROGRAM: Final = "/usr/sbin/haproxy"
_RIGHTS: Final = (
    *("--user", f"{EDGE_USER}:{EDGE_USER}"),
    *("--cap-drop", "ALL", "--cap-add", "NET_BIND_SERVICE"),
    "--read-only",
    *("--security-opt", "no-new-privileges"),
)


def labels(names: Names) -> dict[str, str]:
    """How the container is found: by its role and by the state dir that owns it."""
    return {LABEL_ROLE: "edge", LABEL_SITE: names.edge}


def run_edge(names: Names, image_id: str, folder: Path, *, engine: str = ENGINE) -> Command:
    """Start HAProxy, to be kept up by the engine. ``image_id`` (``sha256:…``) was checked after the load."""
    marks = [part for name, value in labels(names).items() for part in ("--label", f"{name}={value}")]
    return _docker(
        engine,
        *("run", "--detach", "--pull", "never", "--name", names.edge, *marks),
        *("--restart", "always", "--network", "host", *_RIGHTS, *_mounts(folder)),
        # The engine's default keeps every line for ever.
        *("--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt", "max-file=3"),
        *("--entrypoint", _PROGRAM, image_id),
        *("-W", "-db", "-S", f"{MASTER_SOCKET},mode,600", "-f", f"{HOME}/{CONFIG}"),
        timeout=60.0,
    )


def check_config(image_id: str, folder: Path, *, engine: str = ENGINE) -> Command:
    """Let the same HAProxy read the candidate configuration, in a container without a network that then goes."""
    return _docker(
        engine,
        *("run", "--rm", "--pull", "never", "--network", "none", "--log-driver", "none", *_RIGHTS),
        *(_mount(folder, HOME, read_only=True), "--entrypoint", _PROGRAM, image_id),
        *("-c", "-f", f"{HOME}/{CANDIDATE}"),
        timeout=60.0,
    )


def remove_edge(names: Names, *, engine: str = ENGINE) -> Command:
    """Stop HAProxy at once and remove its container."""
    return _docker(engine, "rm", "--force", "--volumes", names.edge, timeout=60.0)


def last_words(names: Names, *, lines: int = 40, engine: str = ENGINE) -> Command:
    """Print the end of HAProxy's log."""
    return _docker(engine, "logs", "--tail", str(lines), names.edge, timeout=30.0)


def inspect_edge(names: Names, *, engine: str = ENGINE) -> Command:
    """Print the state of the container: ``running 0`` is its status and how often the engine had to start it again."""
    return _docker(engine, "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", names.edge, timeout=30.0)


def image_of_edge(names: Names, *, engine: str = ENGINE) -> Command:
    """Print the image id that the container runs."""
    return _docker(engine, "inspect", "--format", "{{.Image}}", names.edge, timeout=30.0)


def load_archive(path: Path, *, engine: str = ENGINE) -> Command:
    """Load an image archive straight into the engine."""
    return _docker(engine, "load", "--quiet", "--input", str(path), timeout=300.0)


def image_in_engine(image_id: str, *, engine: str = ENGINE) -> Command:
    """Print the image's id, computed by the engine from its content; fails where the engine lacks it."""
    return _docker(engine, "image", "inspect", "--format", "{{.Id}}", image_id, timeout=30.0)


def edge_runtime(names: Names, image_id: str, folder: Path, *, engine: str = ENGINE) -> EdgeRuntime:
    """The front door with all it needs to be changed."""
    return EdgeRuntime(
        folder,
        check=check_config(image_id, folder, engine=engine),
        words=last_words(names, engine=engine),
    )


def _docker(engine: str, *arguments: str, timeout: float) -> Command:
    return Command(("docker", "--host", engine, *arguments), timeout=timeout)


def _mounts(folder: Path) -> tuple[str, str]:
    # HAProxy can write to its sockets' folder only: whoever takes it over can't choose what the next start reads.
    return _mount(folder, HOME, read_only=True), _mount(folder / "run", f"{HOME}/run", read_only=False)


def _mount(source: Path, target: str, *, read_only: bool) -> str:
    fields = f'type=bind,"source={source}",target={target}'
    return f"--mount={fields},readonly" if read_only else f"--mount={fields}"
