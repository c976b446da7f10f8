"""The bundled registry's container, as commands. Nothing here starts one.

On the host's network, listening on a loopback address: a published port would die with the engine's proxy.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Final

from installer.commands import Command
from installer.registry.settings import CONFIG_MOUNT, DATA_MOUNT, REGISTRY_UID, RegistryFolder
from installer.site.names import Names

ENGINE: Final = "unix:///var/run/docker.sock"
LABEL_ROLE: Final = "dev.sealift.role"
LABEL_SITE: Final = "dev.sealift.site"
LABEL_CONTENT: Final = "dev.sealift.content"


def run_registry(
    names: Names, image_id: str, folder: RegistryFolder, config_text: str, *, engine: str = ENGINE
) -> Command:
    """Start the registry, to be kept up by the engine. ``image_id`` (``sha256:…``) was checked after the load."""
    labels = {LABEL_ROLE: "registry", LABEL_SITE: names.registry, LABEL_CONTENT: content(image_id, config_text)}
    marks = [part for name, value in labels.items() for part in ("--label", f"{name}={value}")]
    return _docker(
        engine,
        *("run", "--detach", "--pull", "never", "--name", names.registry, *marks),
        *("--restart", "always", "--network", "host"),
        *("--user", f"{REGISTRY_UID}:{REGISTRY_UID}", "--cap-drop", "ALL", "--read-only"),
        *("--security-opt", "no-new-privileges"),
        *("--log-driver", "json-file", "--log-opt", "max-size=10m", "--log-opt", "max-file=3"),
        *("--env", "OTEL_TRACES_EXPORTER=none"),  # Distribution 3 would look for a collector
        _mount(folder.config, CONFIG_MOUNT, read_only=True),
        _mount(folder.data, DATA_MOUNT, read_only=False),
        *(image_id, "serve", f"{CONFIG_MOUNT}/config.yml"),
        timeout=60.0,
    )


def collect_garbage(names: Names, image_id: str, folder: RegistryFolder, *, engine: str = ENGINE) -> Command:
    """Let the registry's own program free what nothing links to, while no registry runs."""
    return _docker(
        engine,
        *("run", "--rm", "--pull", "never", "--network", "none", "--log-driver", "none"),
        *("--label", f"{LABEL_ROLE}=collector", "--label", f"{LABEL_SITE}={names.registry}"),
        *("--user", f"{REGISTRY_UID}:{REGISTRY_UID}", "--cap-drop", "ALL", "--read-only"),
        *("--security-opt", "no-new-privileges", "--env", "OTEL_TRACES_EXPORTER=none"),
        _mount(folder.config, CONFIG_MOUNT, read_only=True),
        _mount(folder.data, DATA_MOUNT, read_only=False),
        *(image_id, "garbage-collect", f"{CONFIG_MOUNT}/config.yml"),
        timeout=1800.0,
    )


def content(image_id: str, config_text: str) -> str:
    """What a container of this image and configuration is labelled with; it gives nothing of either away."""
    return hashlib.sha256(f"{image_id}\n{config_text}".encode()).hexdigest()[:32]


def remove_registry(names: Names, *, engine: str = ENGINE) -> Command:
    """Stop the registry and remove its container; its data stay."""
    return _docker(engine, "rm", "--force", "--volumes", names.registry, timeout=60.0)


def inspect_registry(names: Names, *, engine: str = ENGINE) -> Command:
    """Print ``id status restarts pid content`` of the container; fails where there is none."""
    fields = ("{{.Id}}", "{{.State.Status}}", "{{.RestartCount}}", "{{.State.Pid}}")
    line = " ".join((*fields, f'{{{{index .Config.Labels "{LABEL_CONTENT}"}}}}'))
    return _docker(engine, "container", "inspect", "--format", line, names.registry, timeout=30.0)


def registry_words(names: Names, *, lines: int = 20, engine: str = ENGINE) -> Command:
    """Print the end of the registry's log."""
    return _docker(engine, "logs", "--tail", str(lines), names.registry, timeout=30.0)


def load_archive(path: Path, *, engine: str = ENGINE) -> Command:
    """Load an image archive straight into the engine."""
    return _docker(engine, "load", "--quiet", "--input", str(path), timeout=300.0)


def image_in_engine(image_id: str, *, engine: str = ENGINE) -> Command:
    """Print the image's id, computed by the engine from its content; fails where the engine lacks it."""
    return _docker(engine, "image", "inspect", "--format", "{{.Id}}", image_id, timeout=30.0)


def registry_commands(
    names: Names, archive: Path, image_id: str, folder: RegistryFolder, config_text: str, *, engine: str = ENGINE
) -> tuple[Command, ...]:
    """What a first start does, to be printed: load the image, run it."""
    return (
        load_archive(archive, engine=engine),
        run_registry(names, image_id, folder, config_text, engine=engine),
    )


def _docker(engine: str, *arguments: str, timeout: float) -> Command:
    return Command(("docker", "--host", engine, *arguments), timeout=timeout)


def _mount(source: Path, target: str, *, read_only: bool) -> str:
    fields = f'type=bind,"source={source}",target={target}'
    return f"--mount={fields},readonly" if read_only else f"--mount={fields}"
