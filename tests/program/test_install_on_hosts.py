"""The program brings a product into service on hosts with a Docker client and nothing else: no Python, no Compose.

Each host is a root filesystem of its own; the engine is the machine's. The stick is read-only and may not execute.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from installer import __version__
from installer.site.names import Names
from tests import claims
from tests.products.wallboard.product import make_images, make_product, remove_images
from tests.program.hosts import MEDIA, Host, place_client, root_filesystem

pytestmark = pytest.mark.e2e

SOCKET = """mkdir -p "$ROOT/run"; [ -e "$ROOT/var/run" ] || [ -L "$ROOT/var/run" ] || ln -s /run "$ROOT/var/run"
: >"$ROOT/run/docker.sock"; mount --bind '{}' "$ROOT/run/docker.sock" """
SAME_PLACE = """mkdir -p "$ROOT{0}"; mount --bind '{0}' "$ROOT{0}" """
LAUNCHER = "usr/local/bin/sealift"


@dataclass(frozen=True)
class Vendor:
    """Two sticks, and the root of trust that comes by another way.

    ``signed`` is ``second`` with what the holder of the installer role added: his signature over its newer program.
    """

    first: Path
    second: Path
    signed: Path
    root: Path

    @property
    def fingerprint(self) -> str:
        return f"sha256:{hashlib.sha256(self.root.read_bytes()).hexdigest()}"


@pytest.fixture(scope="module")
def vendor(
    engine: docker.DockerClient,
    edge_images: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
    real_program: Path,
    newer_program: Path,
    compose_plugin: Path,
) -> Iterator[Vendor]:
    """Wallboard with a Compose of its own. Programs are signed by somebody else than releases."""
    assert set(edge_images) == {"haproxy", "registry"}
    folder = tmp_path_factory.mktemp("vendor")
    repository = f"sealift-test-{random.randbytes(5).hex()}/wallboard"
    make_images(engine, repository)
    product = make_product(folder, repository, installer=True)
    manifest = folder / "manifests/wallboard/release.yaml"
    recipe = yaml.safe_load(manifest.read_text())
    recipe["tools"] = [{"name": "docker-compose", "path": str(compose_plugin)}]
    manifest.write_text(yaml.safe_dump(recipe))
    programs = {"1.0.0": real_program, "1.1.0": newer_program}
    first, second = (product.build(version, "--installer", str(path)) for version, path in programs.items())
    signed = Path(shutil.copytree(second, folder / "signed"))
    product.bundle("sign", str(signed), "--key", "keys/installer.key")
    yield Vendor(first, second, signed, folder / "keys/root.json")
    remove_images(engine, repository)


@pytest.fixture(scope="module")
def docker_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A layer with this machine's ``docker`` and what it needs, and no plugin."""
    folder = tmp_path_factory.mktemp("client")
    place_client(Path(shutil.which("docker") or "docker not found"), folder)
    return folder


@dataclass(frozen=True)
class Place:
    """A host with a site of its own. Every answer is one JSON object."""

    host: Host
    state: Path
    door: int

    def run(self, command: str, *, user: int = 0) -> tuple[int, dict[str, Any], str]:
        done = self.host.sh(f"{command} --json", user=user)
        try:
            value = json.loads(done.stdout)
        except ValueError as error:
            raise AssertionError(f"no single JSON object from {command}: {done.stdout}\n{done.stderr}") from error
        return done.returncode, value, done.stderr

    def done(self, command: str) -> dict[str, Any]:
        """The same, where it must go well."""
        code, value, talk = self.run(command)
        assert code == 0, f"{command}: {value}\n{talk}"
        assert "error" not in value
        return value

    def refuses(self, command: str, *, user: int = 0) -> tuple[int, str]:
        """Its exit code and the id of its error."""
        code, value, _ = self.run(command, user=user)
        assert value["error"]["code"] == code
        assert code != 7 or "as root" in value["error"]["hint"]
        return code, str(value["error"]["id"])

    def version(self) -> str:
        """What people get at the front door, over loopback."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.door}/status", timeout=5) as answer:
            return str(json.load(answer)["version"])

    def files(self) -> set[str]:
        """What the host holds of ours, inside and outside its state dir."""
        state = {path.relative_to(self.state).as_posix() for path in self.state.rglob("*")}
        return self.host.written() | {f"state/{path}" for path in state}

    def on_the_engine(self, engine: docker.DockerClient) -> list[str]:
        """Containers, networks and volumes that carry the name of this state dir."""
        suffix = Names.of(self.state).suffix
        names = [container.name for container in engine.containers.list(all=True, ignore_removed=True)]
        names += [network.name for network in engine.networks.list()]
        names += [volume.id for volume in engine.volumes.list()]
        return [name for name in names if name and suffix in name]


@pytest.fixture
def place(
    request: pytest.FixtureRequest,
    engine: docker.DockerClient,
    wide_cache: Path,
    tmp_path: Path,
    scratch: Path,
    vendor: Vendor,
    docker_client: Path,
    free_port: Callable[[], int],
) -> Iterator[Place]:
    """A host with the first stick in it, its site file written, its trust not yet provisioned."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    door, listen, preview = free_port(), f"127.0.0.1:{free_port()}", free_port()
    (state / "site.yaml").write_text(
        "site: hall\n"
        f"registry: {{bundled: {{listen: {listen}}}}}\n"
        f'entry_points: {{board: {{bind: "127.0.0.1:{door}"}}}}\n'
        f"preview: {{bind: 127.0.0.1, ports: {preview}-{preview}}}\n"
        f"network: {{subnet: {claims.subnet()}}}\n"
        "timing: {health: 60s, settle: 0s, bake: 0s, drain: 1s}\n"
    )
    socket = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock").removeprefix("unix://")
    mounts = [SOCKET.format(socket), SAME_PLACE.format(state)]
    paths = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "SEALIFT_STATE_DIR": str(state)}
    root = root_filesystem(request.param, wide_cache)
    host = Host(root, scratch, vendor.first, mounts, (docker_client,), paths, networked=True)
    (host.changes / "root").mkdir(parents=True)
    shutil.copy(vendor.root, host.changes / "root/root.json")
    one = Place(host, state, door)
    yield one
    host.sh("sealift remove --yes --volumes")
    for image in engine.images.list():  # `remove` leaves the engine's copies to a later prune
        for reference in image.attrs["RepoDigests"] or []:
            if reference.startswith(f"{listen}/"):
                engine.images.remove(reference)
    assert one.on_the_engine(engine) == []


@pytest.mark.parametrize(
    ("place", "signed"),
    [("bookworm", False), ("bullseye", False), ("libc-and-busybox", True)],
    indirect=["place"],
)
def test_brings_a_product_into_service_and_off_again(
    place: Place, signed: bool, vendor: Vendor, engine: docker.DockerClient, tmp_path: Path
) -> None:
    """The program on the second stick is newer. ``signed``: in the installer role too, and so it takes over."""
    host = place.host
    assert host.sh("command -v python3 || docker compose version").returncode != 0
    assert host.sh("docker version").returncode == 0

    trust = f"trust init /root/root.json --fingerprint {vendor.fingerprint}"
    assert place.done(f"sh '{MEDIA}/install' {trust}")["product"] == "wallboard"
    before = place.files()
    first = place.done(f"sh '{MEDIA}/install' --verify --strategy blue-green --yes")
    assert (first["result"], first["version"], first["previous"]) == ("installed", "1.0.0", None)
    assert place.version() == "1.0.0"
    launcher = (host.changes / LAUNCHER).read_bytes()
    runtimes = sorted((host.changes / "usr/local/lib/sealift/runtime").iterdir())

    a_damaged_stick_changes_nothing(place, vendor, tmp_path)
    host.stick = vendor.signed if signed else vendor.second
    assert host.install("--version").stdout == "sealift 9.9.9\n"
    assert place.done(f"sh '{MEDIA}/install' --dry-run")["result"] == "planned"
    assert host.sh("sealift --version").stdout == f"sealift {__version__}\n"
    code, second, talk = place.run(f"sh '{MEDIA}/install' --strategy blue-green --yes")
    assert (code, second["result"], second["version"], second["previous"]) == (0, "installed", "1.1.0", "1.0.0"), talk
    assert second["active"] != first["active"]
    assert place.version() == "1.1.0"
    if signed:
        the_newer_program_took_over(place, vendor, talk)
    else:
        assert "sealift 9.9.9 of this medium was passed over (no-valid-signature)" in talk
        assert place.done("sealift history")["programs"] == []
        assert (host.changes / LAUNCHER).read_bytes() == launcher
        assert sorted((host.changes / "usr/local/lib/sealift/runtime").iterdir()) == runtimes

    (shown,) = place.done("sealift status")["products"]
    assert (shown["version"], shown["previous"], shown["healthy"]) == ("1.1.0", "1.0.0", True)
    assert place.done(f"sealift verify '{MEDIA}'")["verified"] is True
    assert place.done("sealift rollback")["version"] == "1.0.0"
    assert place.version() == "1.0.0"

    assert place.done("sealift remove --yes --volumes") == {"removed": "wallboard", "volumes": True}
    assert place.on_the_engine(engine) == []
    left = {path for path in place.files() if path.startswith("state/")} - before
    assert {path.split("/")[1] for path in left} <= {"lock", "journal", "state.a", "state.b", "trust"}, left
    assert place.refuses("sealift rollback") == (2, "not-initialised")


def the_newer_program_took_over(place: Place, vendor: Vendor, talk: str) -> None:
    """With what was typed, before the upgrade; it is written down, and the older stick does not undo it."""
    assert f"sealift 9.9.9, signed by installer, takes over from {__version__} and stays" in talk
    (noted,) = place.done("sealift history")["programs"]
    assert (noted["from"], noted["to"], noted["signers"][0]["name"]) == (__version__, "9.9.9", "installer")
    stick, place.host.stick = place.host.stick, vendor.first
    assert place.refuses(f"sh '{MEDIA}/install' --yes") == (6, "downgrade")
    assert place.done("sealift status")["program"]["version"] == "9.9.9"
    place.host.stick = stick


def a_damaged_stick_changes_nothing(place: Place, vendor: Vendor, folder: Path) -> None:
    """Though the host has a program of its own that could go on."""
    damaged = folder / "damaged"
    shutil.copytree(vendor.second, damaged)
    program = bytearray((damaged / "install").read_bytes())
    program[len(program) // 2] ^= 1
    (damaged / "install").write_bytes(program)
    place.host.stick = damaged
    before = place.files()
    assert place.refuses(f"sh '{MEDIA}/install' --yes") == (4, "program-damaged")
    assert place.files() == before
    assert place.version() == "1.0.0"


@pytest.mark.parametrize("place", ["bookworm"], indirect=True)
def test_refuses_people_without_rights_before_anything_is_written(place: Place, vendor: Vendor) -> None:
    place.host.sh("chmod 0755 /root")
    trust = f"trust init /root/root.json --fingerprint {vendor.fingerprint}"
    before = place.files()
    for state in (place.state, "/var/lib/not-there-yet"):
        for arguments in ("--yes", trust):
            command = f"sh '{MEDIA}/install' {arguments} --state-dir {state}"
            assert place.refuses(command, user=1000) == (7, "permission")
    # The program unpacks itself in their own home folder, and nowhere else.
    written = {path for path in place.files() - before if not path.startswith("home/courier/.cache")}
    assert written <= {"home", "home/courier"}
    place.done(f"sh '{MEDIA}/install' {trust}")
    before = place.files()
    for command in (f"sealift install '{MEDIA}' --yes", f"sh '{MEDIA}/install' --yes", "sealift remove --yes"):
        assert place.refuses(command, user=1000) == (7, "permission")
    assert place.files() == before
