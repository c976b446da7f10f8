"""HAProxy's container, as commands. Nothing here starts one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from installer.commands import Command
from installer.edge.files import CANDIDATE, CONFIG, EDGE_USER
from installer.edge.render import HOME, MASTER_SOCKET, STATS_SOCKET
from installer.edge.runtime import EdgeRuntime
from installer.site.names import Names

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
    return _run(names, names.edge, "always", image_id, folder, engine)


def next_edge(names: Names) -> str:
    """What the container of a newer HAProxy is called until it has taken over."""
    return f"{names.edge}-next"


def run_successor(names: Names, image_id: str, folder: Path, *, engine: str = ENGINE) -> Command:
    """Start HAProxy beside the one that runs, from which it gets its sockets; not yet kept up by the engine.

    It keeps these words for all its life. Where nobody answers on the socket any more, it binds its addresses itself.
    """
    return _run(names, next_edge(names), "no", image_id, folder, engine, "-x", STATS_SOCKET)


def keep_up(container: str, policy: str, *, engine: str = ENGINE) -> Command:
    """Let the engine start the container again, ``always`` or ``no``."""
    return _docker(engine, "update", "--restart", policy, container, timeout=30.0)


def let_go(container: str, *, engine: str = ENGINE) -> Command:
    """Accept nothing more, and end with the last session."""
    return _docker(engine, "kill", "--signal", "USR1", container, timeout=30.0)


def rename(container: str, name: str, *, engine: str = ENGINE) -> Command:
    """Another name for a container."""
    return _docker(engine, "rename", container, name, timeout=30.0)


def policy_of(container: str, *, engine: str = ENGINE) -> Command:
    """Print whether the engine starts the container again: ``always`` or ``no``."""
    return _docker(engine, "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", container, timeout=30.0)


def id_of(container: str, *, engine: str = ENGINE) -> Command:
    """Print the container's id; fails where there is none."""
    return _docker(engine, "container", "inspect", "--format", "{{.Id}}", container, timeout=30.0)


def remove_container(container: str, *, engine: str = ENGINE) -> Command:
    """Stop a container at once and remove it."""
    return _docker(engine, "rm", "--force", "--volumes", container, timeout=60.0)


def ended_edges(names: Names, *, engine: str = ENGINE) -> Command:
    """Print the ids of front doors of this site that have ended."""
    return _list(names, engine, "--filter", "status=exited", "--filter", "status=dead")


def all_edges(names: Names, *, engine: str = ENGINE) -> Command:
    """Print the ids of all front doors of this site: the one that serves, and those that still serve old sessions."""
    return _list(names, engine)


def _list(names: Names, engine: str, *more: str) -> Command:
    own = [word for name, value in labels(names).items() for word in ("--filter", f"label={name}={value}")]
    return _docker(engine, "ps", "--all", "--quiet", "--no-trunc", *own, *more, timeout=30.0)


def _run(names: Names, name: str, policy: str, image_id: str, folder: Path, engine: str, *more: str) -> Command:
    marks = [part for name, value in labels(names).items() for part in ("--label", f"{name}={value}")]
    return _docker(
        engine,
        *("run", "--detach", "--pull", "never", "--name", name, *marks),
        *("--restart", policy, "--network", "host", *_RIGHTS, *_mounts(folder)),
        # The engine's default keeps every line for ever.
        *("--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt", "max-file=3"),
        *("--entrypoint", _PROGRAM, image_id),
        *("-W", "-db", "-S", f"{MASTER_SOCKET},mode,600", "-f", f"{HOME}/{CONFIG}", *more),
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


def last_words(names: Names, which: str = "", *, lines: int = 40, engine: str = ENGINE) -> Command:
    """Print the end of HAProxy's log."""
    return _docker(engine, "logs", "--tail", str(lines), which or names.edge, timeout=30.0)


def inspect_edge(names: Names, which: str = "", *, engine: str = ENGINE) -> Command:
    """Print the state of the container: ``running 0`` is its status and how often the engine had to start it again."""
    return _docker(
        engine, "inspect", "--format", "{{.State.Status}} {{.RestartCount}}", which or names.edge, timeout=30.0
    )


def image_of_edge(names: Names, which: str = "", *, engine: str = ENGINE) -> Command:
    """Print the image id that the container runs."""
    return _docker(engine, "inspect", "--format", "{{.Image}}", which or names.edge, timeout=30.0)


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
