"""Steps as commands of Docker Compose. Nothing is run here.

``up`` doesn't wait: an exit code 0 of ``up --wait`` is not health (a container may be healthy once and dead two
seconds later), and 1 doesn't say whose fault it was. ``health.py`` looks itself, twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from installer.bundle.release import Release
from installer.commands import Command
from installer.plan.addresses import ColourNet
from installer.site.names import Colour, Names, Part
from installer.site.site import Site
from installer.targets import labels

_QUICK: Final = 60.0
_PULL: Final = 1800.0
_DOWN: Final = 600.0


@dataclass(frozen=True)
class ComposeTarget:
    """One release on one engine.

    ``folder`` holds the rendered files and the colours' compose file, ``base_folder`` (named after
    ``ComposeParts.base_key``) those of the base. ``compose_argv`` is ``("docker", "compose")`` or a carried plugin by
    its path; ``docker_config`` is the folder with the engine credentials of the registry. ``stop_seconds`` overrides
    the product's own ``stop_grace_period``.
    """

    names: Names
    release: Release
    site: Site
    folder: Path
    base_folder: Path
    nets: Mapping[Colour, ColourNet]
    compose_argv: tuple[str, ...] = ("docker", "compose")
    docker_argv: tuple[str, ...] = ("docker",)
    docker_config: Path | None = None
    stop_seconds: int | None = None

    def file(self, part: Part) -> Path:
        """Where the compose file of a part must lie: what ``ComposeParts.write`` returns."""
        return (self.base_folder if part == "base" else self.folder) / f"sealift.{part}.yaml"

    def create_network(self, colour: Colour) -> Command:
        """A colour's bridge; fails when it exists, so look first."""
        net = self.nets[colour]
        own = labels.belongings(self.names, self.release.product) | {labels.COLOUR: colour}
        return self._docker(
            *("network", "create", "--driver", "bridge"),
            *("--subnet", str(net.subnet), "--gateway", str(net.gateway), "--ip-range", str(net.dynamic)),
            *(word for key, value in sorted(own.items()) for word in ("--label", f"{key}={value}")),
            self.names.network(self.release.product, colour),
        )

    def remove_network(self, colour: Colour) -> Command:
        """Fails while a container is on it, so take the base off first."""
        return self._docker("network", "rm", self.names.network(self.release.product, colour))

    def pull(self, part: Part) -> Command:
        """Fetch the images that the engine lacks; nothing is started."""
        return self._compose(part, "pull", "--quiet", "--policy", "missing", timeout=_PULL)

    def up(self, part: Part, *containers: str, alone: bool = True) -> Command:
        """Start a part, or only some of its ``containers`` (such as ``gateway-1``), ``alone`` or with what they need.

        It lasts as long as Compose waits for ``depends_on``, so it may take the time that health may take.
        """
        options = ("--detach", "--no-build", "--pull", "missing", "--quiet-pull", *self._grace)
        which = (*(("--no-deps",) if alone else ()), *containers) if containers else ("--remove-orphans",)
        return self._compose(part, "up", *options, *which, timeout=self.site.timing.health + _DOWN)

    def down(self, part: Part) -> Command:
        """Take a part off the engine by its project's name, so that it works without the file too.

        Unnamed volumes of a colour go with it; volumes of the base never do.
        """
        volumes = () if part == "base" else ("--volumes",)
        return self._by_name(part, "down", "--remove-orphans", *volumes, *self._grace, timeout=_DOWN)

    def remove_image(self, reference: str) -> Command:
        """Fails where a container uses the image, or the engine lacks it."""
        return self._docker("image", "rm", reference)

    def find_volumes(self) -> Command:
        """Prints the names of the product's volumes, by label."""
        own = labels.belongings(self.names, self.release.product)
        marks = (word for key, value in own.items() for word in ("--filter", f"label={key}={value}"))
        return self._docker("volume", "ls", "--quiet", *marks)

    def remove_volumes(self) -> Command:
        """Takes volumes, whose names are added at the end; fails while one is used."""
        return self._docker("volume", "rm")

    def stop(self, part: Part, *containers: str) -> Command:
        """Stop containers; one with the restart policy ``always`` comes back with the engine, so ``down`` retires."""
        return self._compose(part, "stop", *self._grace, *containers, timeout=_DOWN)

    def remove(self, part: Part, *containers: str) -> Command:
        """Stop containers and take them off the engine, so that none comes back with it; fine where they are gone."""
        return self._compose(part, "rm", "--stop", "--force", "--volumes", *containers, timeout=_DOWN)

    def logs(self, part: Part, service: str, lines: int) -> Command:
        """The last lines of a service of the release, all its replicas."""
        return self._by_name(part, "logs", "--no-color", "--tail", str(lines), *self.containers(service))

    def config_hash(self, part: Part) -> Command:
        """Prints ``container hash`` lines: the label ``com.docker.compose.config-hash`` of what is unchanged."""
        return self._compose(part, "config", "--hash", "*")

    def check(self, part: Part) -> Command:
        """Compose's own opinion of the file; says nothing when it is content."""
        return self._compose(part, "config", "--quiet")

    def containers(self, service: str) -> tuple[str, ...]:
        """The names that a service's replicas have within their project."""
        declared = self.release.services[service]
        if declared.state == "shared":
            return (service,)
        return tuple(f"{service}-{number}" for number in range(1, declared.replicas + 1))

    @property
    def _grace(self) -> tuple[str, ...]:
        return () if self.stop_seconds is None else ("--timeout", str(self.stop_seconds))

    def _compose(self, part: Part, *words: str, timeout: float = _QUICK) -> Command:
        file = self.file(part)
        place = ("--project-directory", str(file.parent), "--file", str(file))
        return self._project_command(part, *place, *words, timeout=timeout)

    def _by_name(self, part: Part, *words: str, timeout: float = _QUICK) -> Command:
        # In a folder with a compose.yaml Compose would read that one, so this runs where none is.
        return self._project_command(part, *words, timeout=timeout)

    def _project_command(self, part: Part, *words: str, timeout: float) -> Command:
        argv = (*self.compose_argv, "--project-name", self._project(part), *words)
        return replace(self._command(argv, timeout), carried=self.compose_argv[0].startswith("/"))

    def _docker(self, *words: str) -> Command:
        return self._command((*self.docker_argv, *words), _QUICK)

    def _command(self, argv: tuple[str, ...], timeout: float) -> Command:
        return Command(argv, cwd="/", env=engine_environment(self.site, self.docker_config), timeout=timeout)

    def _project(self, part: Part) -> str:
        return self.names.project(self.release.product, part)


def engine_environment(site: Site, docker_config: Path | None) -> dict[str, str]:
    """What Docker's programs need to know: the engine, and where the registry's password is (not what it is)."""
    environment = {"DOCKER_HOST": site.target.engine}
    if docker_config is not None:
        environment["DOCKER_CONFIG"] = str(docker_config)
    return environment
