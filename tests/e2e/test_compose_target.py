"""Rendering, splitting, starting and observing a small product on the real engine."""

from __future__ import annotations

import io
import os
import random
import socket
import subprocess
import tarfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import docker
import pytest
from docker.models.containers import Container

from installer.bundle.release import Health, Release, Service
from installer.errors import SealiftError
from installer.look.inventory import Inventory, Replica, find_compose, replica_state
from installer.look.probe import Probe
from installer.plan.addresses import colour_net, fixed_addresses, refuse_overlap
from installer.site.names import COLOURS, Colour, Names, Part
from installer.site.render import render
from installer.site.secretfiles import install_secrets
from installer.site.site import Site, parse_site
from installer.system import Finished, run
from installer.targets.compose import ComposeTarget, engine_environment
from installer.targets.compose_file import Placement, colour_replicas, split
from installer.targets.health import await_healthy, diagnose
from tests import claims
from tests.unit.site.builders import release_of

pytestmark = pytest.mark.e2e

BUSYBOX = Path("/bin/busybox")
SOCKET = "unix:///var/run/docker.sock"
HEALTH = Health(http=":8080/version.txt")
SERVICES = {
    "web": Service(image="busybox", replicas=2, health=HEALTH),
    "store": Service(image="busybox", state="shared", health=Health(tcp=":8080")),
}
COMPOSE = """\
x-check: &check
  healthcheck: {test: [CMD, /bin/busybox, wget, -q, -O, "-", "http://127.0.0.1:8080/"], interval: 1s, retries: 20}
services:
  web:
    <<: *check
    image: {{ images.busybox }}
    container_name: the-web
    ports: ["8080:8080"]
    command: [httpd, -f, -p, "8080", -h, /www]
    secrets: [db]
    volumes: ["./www:/www", /scratch]
    depends_on: [store]
  store:
    <<: *check
    image: {{ images.busybox }}
    environment: {HOLDS: "${HOLDER}", PRICE: "5 $$", LEVEL: "${LEVEL:-info}"}
    command: [httpd, -f, -p, "8080", -h, /conf]
    secrets: [db]
    volumes: ["data:/data", "./store:/conf"]
volumes: {data: }
secrets: {db: {file: ./never-there}}
"""
TEMPLATES = {
    "compose.yaml.j2": COMPOSE.encode(),
    "www/version.txt.j2": b"{{ version }} at {{ site }}\n",
    "www/index.html": b"hello\n",
    "store/index.html": b"one-copy\n",
    ".env": b"HOLDER=store\n",
}


@pytest.fixture(scope="session")
def busybox_image(engine: docker.DockerClient) -> Iterator[str]:
    """An image with a static busybox and nothing else."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as tar:
        tar.add(BUSYBOX, "bin/busybox")
        for name in ("tmp", "data", "www"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(folder)
    archive.seek(0)
    tag = f"sealift-test/busybox:{random.getrandbits(40):010x}"
    change = 'ENTRYPOINT ["/bin/busybox"]'
    subprocess.run(["docker", "import", "-c", change, "-", tag], input=archive.read(), check=True, capture_output=True)
    yield tag
    engine.images.remove(tag, force=True)


@dataclass
class Lab:
    """A site of its own on the shared engine: state dir, subnet, secrets, and what is started there."""

    folder: Path
    image: str
    site: Site
    inventory: Inventory

    @property
    def names(self) -> Names:
        return Names.of(self.folder)

    def target(
        self,
        colour: Colour,
        version: str = "1.0.0",
        services: Mapping[str, Service] = SERVICES,
        templates: Mapping[str, bytes] = TEMPLATES,
    ) -> ComposeTarget:
        """Render and split a release for a colour, write its folders, and return how it is started."""
        release = release_of(services, version=version)
        secrets = install_secrets(self.site, release.product, ["db"], self.folder).files
        images = {"busybox": self.image}
        rendered = render(release, self.site, templates, images, {})
        pool = self.site.network.subnet
        nets = {one: colour_net(pool, 0, one) for one in COLOURS}
        addresses = fixed_addresses(nets[colour], colour_replicas(release))
        parts = split(
            rendered["compose.yaml"], release, Placement(self.names, colour, images, addresses, secrets, rendered)
        )
        target = ComposeTarget(
            names=self.names,
            release=release,
            site=self.site,
            folder=self.folder / "releases" / f"{version}-{colour}",
            base_folder=self.folder / "base" / parts.base_key,
            nets=nets,
            stop_seconds=1,
        )
        write(target.folder, rendered | {target.file(colour).name: parts.write(colour)})
        if parts.base is not None:
            write(target.base_folder, dict(parts.base_files) | {target.file("base").name: parts.write("base")})
        return target

    def up(self, target: ComposeTarget, part: Part) -> tuple[Replica, ...]:
        """Start a part and wait until it is well."""
        run(target.up(part))
        self.wait(target.release, part)
        return self.seen(part)

    def wait(self, release: Release, part: Part, settle: float = 0.5, timeout: float = 40) -> None:
        """Wait for health as an upgrade does."""
        state = "shared" if part == "base" else "none"
        await_healthy(
            lambda: self.seen(part),
            Probe(self.inventory),
            {name: service.health for name, service in release.services.items() if service.state == state},
            timeout=timeout,
            settle=settle,
            logs=lambda replica: self.inventory.last_log_lines(replica.id, 5),
        )

    def seen(self, part: Part) -> tuple[Replica, ...]:
        return self.inventory.observe("note-board").of("note-board", part)

    def inside(self, replica: Replica, *words: str) -> Finished:
        """Run busybox in a container."""
        done = subprocess.run(
            ["docker", "exec", replica.id, "/bin/busybox", *words], capture_output=True, text=True, check=False
        )
        return Finished(done.returncode, done.stdout, done.stderr)


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def new_lab(folder: Path, image: str) -> Iterator[Lab]:
    """A lab with both networks, taken down at the end whatever happened in between."""
    (folder / "db").write_bytes(b"first")
    (folder / "db").chmod(0o600)
    site = parse_site(
        f"{{site: hospital-7, network: {{subnet: {claims.subnet()}}}, secrets: {{db: {{file: {folder / 'db'}}}}}}}"
    )
    with Inventory(SOCKET, Names.of(folder)) as inventory:
        lab = Lab(folder, image, site, inventory)
        target = lab.target("blue")
        parts: tuple[Part, ...] = ("blue", "green", "base")
        try:
            for colour in COLOURS:
                run(target.create_network(colour))
            yield lab
        finally:
            for part in parts:
                run(target.down(part), check=False)
            for colour in COLOURS:
                run(target.remove_network(colour), check=False)
            volume = lab.names.volume("note-board", "data")
            subprocess.run(["docker", "volume", "rm", "-f", volume], check=False, capture_output=True)


@pytest.fixture
def lab(tmp_path: Path, busybox_image: str) -> Iterator[Lab]:
    """An empty site."""
    yield from new_lab(tmp_path, busybox_image)


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, busybox_image: str) -> Iterator[Lab]:
    """A site where 1.0.0 runs as blue, 1.1.0 as green, and the base below both. Tests leave it as it is."""
    for lab in new_lab(tmp_path_factory.mktemp("site"), busybox_image):
        blue, green = lab.target("blue", "1.0.0"), lab.target("green", "1.1.0")
        lab.up(blue, "base")
        lab.up(blue, "blue")
        lab.up(green, "green")
        yield lab


def test_both_colours_run_side_by_side_under_fixed_addresses(both: Lab) -> None:
    net = int(both.site.network.subnet.network_address)
    for part, offset, version in (("blue", 2, "1.0.0"), ("green", 130, "1.1.0")):
        found = both.seen(part)  # type: ignore[arg-type]
        assert [one.container for one in found] == ["web-1", "web-2"]
        assert [int_of(*one.addresses.values()) for one in found] == [net + offset, net + offset + 1]
        assert {one.version for one in found} == {version}
        assert {one.service for one in found} == {"web"}


def int_of(address: str) -> int:
    """An address as a number."""
    return int(IPv4Network(address).network_address)


def test_fixed_addresses_answer_from_the_host(both: Lab) -> None:
    probe = Probe(both.inventory)
    for replica in (*both.seen("blue"), *both.seen("green")):
        assert probe(replica, HEALTH) is None
        assert probe(replica, Health(tcp=":8080")) is None


def test_refuses_an_answer_from_an_address_that_is_not_our_containers(both: Lab) -> None:
    first, second = both.seen("blue")
    taken = replace(first, addresses=second.addresses)
    assert "belongs to another container" in (Probe(both.inventory)(taken, HEALTH) or "")


@pytest.mark.parametrize(
    ("health", "words"),
    [
        (Health(http=":8080/nothing-here"), "answers 404"),
        (Health(http=":8081/"), "no answer"),
        (Health(tcp=":8081"), "no answer"),
    ],
)
def test_says_what_the_answer_from_outside_was(both: Lab, health: Health, words: str) -> None:
    assert words in (Probe(both.inventory, seconds=1)(both.seen("blue")[0], health) or "")


def test_names_resolve_within_the_own_colour_only(both: Lab) -> None:
    for part, other in (("blue", "green"), ("green", "blue")):
        own = {next(iter(one.addresses.values())) for one in both.seen(part)}  # type: ignore[arg-type]
        foreign = {next(iter(one.addresses.values())) for one in both.seen(other)}  # type: ignore[arg-type]
        for name in ("web", "web-1", "the-web"):
            answer = both.inside(both.seen(part)[0], "nslookup", name).out  # type: ignore[arg-type]
            found = {line.split()[1].split(":")[0] for line in answer.splitlines() if line.startswith("Address:")}
            assert found & own, answer
            assert not found & foreign, answer


def test_the_base_answers_both_colours_under_one_name(both: Lab) -> None:
    for replica in (both.seen("blue")[0], both.seen("green")[1]):
        assert both.inside(replica, "wget", "-q", "-O", "-", "http://store:8080/").out == "one-copy\n"


def test_the_base_takes_no_address_that_a_replica_could_need(both: Lab) -> None:
    (store,) = both.seen("base")
    for colour in COLOURS:
        net = colour_net(both.site.network.subnet, 0, colour)
        assert IPv4Address(store.addresses[both.names.network("note-board", colour)]) in net.dynamic


def test_containers_see_rendered_files_and_secrets_and_cannot_change_them(both: Lab) -> None:
    replica = both.seen("green")[0]
    assert both.inside(replica, "cat", "/www/version.txt").out == "1.1.0 at hospital-7\n"
    assert both.inside(replica, "cat", "/run/secrets/db").out == "first"
    for place in ("/www/x", "/www/version.txt", "/run/secrets/db"):
        assert both.inside(replica, "sh", "-c", f"echo y > {place}").code != 0, f"{place} can be written"


def test_variables_come_from_the_products_own_file(both: Lab) -> None:
    (store,) = both.seen("base")
    assert both.inside(store, "sh", "-c", "echo $HOLDS, $PRICE, $LEVEL").out == "store, 5 $, info\n"


def test_nothing_is_published_on_the_host_and_all_comes_back_with_the_engine(
    both: Lab, engine: docker.DockerClient
) -> None:
    for replica in both.inventory.observe().replicas:
        settings = engine.api.inspect_container(replica.id)["HostConfig"]
        assert not settings["PortBindings"]
        assert settings["RestartPolicy"]["Name"] == "always"


def test_unchanged_base_is_not_made_again_for_another_release_and_colour(both: Lab) -> None:
    (before,) = both.seen("base")
    later = both.target("green", "1.2.0")
    (after,) = both.up(later, "base")

    assert (after.id, after.started_at, after.restarts) == (before.id, before.started_at, before.restarts)
    assert after.version == ""


def test_compose_itself_calls_an_unchanged_part_unchanged(both: Lab) -> None:
    target = both.target("blue", "1.0.0")
    for part in ("blue", "base"):
        printed = dict(line.split() for line in run(target.config_hash(part)).out.splitlines())
        assert printed == {one.container: one.config_hash for one in both.seen(part)}


def test_observes_only_what_belongs_to_the_own_state_dir(both: Lab, tmp_path: Path) -> None:
    with Inventory(SOCKET, Names.of(tmp_path)) as elsewhere:
        assert elsewhere.observe().replicas == ()
        assert elsewhere.observe().networks == ()
    assert len(both.inventory.observe().replicas) == 5
    assert both.inventory.observe("lan-chat").replicas == ()


def test_sees_own_networks_and_keeps_them_out_of_the_check_for_overlap(both: Lab) -> None:
    observed = both.inventory.observe().networks
    assert [(net.product, net.colour) for net in observed] == [("note-board", "blue"), ("note-board", "green")]
    assert both.inventory.network_exists(observed[0].name)
    assert not both.inventory.network_exists(observed[0].name[:-1])
    refuse_overlap(both.site.network.subnet, both.inventory.foreign_routes())
    with pytest.raises(SealiftError, match="network bridge"):
        refuse_overlap(IPv4Network("172.16.0.0/12"), both.inventory.foreign_routes())


def test_shows_the_logs_of_a_service_without_its_file(both: Lab) -> None:
    target = replace(both.target("blue", "1.0.0"), folder=Path("/nowhere"))
    assert run(target.logs("blue", "web", 3)).code == 0


def test_says_what_engine_this_is(both: Lab) -> None:
    facts = both.inventory.engine()
    assert facts.platform in ("linux/amd64", "linux/arm64")
    assert facts.version[0].isdigit()
    assert facts.free_bytes is not None
    assert facts.free_bytes > 0
    assert Path(facts.data_root).is_dir()


def test_a_changed_secret_makes_the_containers_again_that_use_it_and_keeps_the_data(lab: Lab) -> None:
    # Compose makes unnamed volumes into named ones when it makes a container again, and then keeps them for ever.
    templates = TEMPLATES | {"compose.yaml.j2": COMPOSE.replace(", /scratch", "").encode()}
    target = lab.target("blue", templates=templates)
    (store,) = lab.up(target, "base")
    web = {one.id for one in lab.up(target, "blue")}
    assert lab.inside(store, "sh", "-c", "echo kept > /data/index.html").code == 0

    (lab.folder / "db").write_bytes(b"second")
    changed = lab.target("blue", templates=templates)
    (store_again,) = lab.up(changed, "base")
    web_again = lab.up(changed, "blue")

    assert store_again.id != store.id
    assert web.isdisjoint({one.id for one in web_again})
    assert lab.inside(store_again, "cat", "/run/secrets/db").out == "second"
    assert lab.inside(store_again, "cat", "/data/index.html").out == "kept\n"


def test_down_takes_a_colour_without_its_file_and_leaves_the_data_of_the_base(
    lab: Lab, engine: docker.DockerClient
) -> None:
    target = lab.target("blue")
    lab.up(target, "base")
    lab.up(target, "blue")
    mounts = [mount for one in lab.seen("blue") for mount in engine.api.inspect_container(one.id)["Mounts"]]
    unnamed = [mount["Name"] for mount in mounts if mount["Type"] == "volume"]
    target.file("blue").unlink()

    run(target.down("blue"))
    run(target.down("base"))

    assert lab.inventory.observe().replicas == ()
    left = {volume["Name"] for volume in engine.api.volumes()["Volumes"] or ()}
    assert len(unnamed) == 2
    assert left.isdisjoint(unnamed)
    assert lab.names.volume("note-board", "data") in left


def lone(command: str, more: str = "") -> dict[str, bytes]:
    """Templates of a product with one service that runs a shell command."""
    text = f"services: {{web: {{image: x, command: [sh, -c, '{command}'], {more}}}}}\n"
    return {"compose.yaml.j2": text.encode()}


def failing(lab: Lab, templates: Mapping[str, bytes], settle: float = 0.5, timeout: float = 30) -> SealiftError:
    """The error that waiting for this product ends with."""
    target = lab.target("blue", services={"web": Service(image="busybox")}, templates=templates)
    run(target.up("blue"))
    with pytest.raises(SealiftError) as failed:
        lab.wait(target.release, "blue", settle, timeout)
    assert failed.value.id == "service-unhealthy"
    return failed.value


def test_reports_a_container_that_crashes_again_and_again_with_its_last_words(lab: Lab) -> None:
    error = failing(lab, lone("echo no database; exit 3"))

    assert "web-1" in error.message
    assert "exit code 3" in error.message
    assert error.details[-1] == "web-1: no database"


def test_knows_what_a_container_that_runs_again_ended_with(lab: Lab) -> None:
    target = lab.target(
        "blue", services={"web": Service(image="busybox")}, templates=lone("/bin/busybox sleep 1; exit 3")
    )
    run(target.up("blue"))
    assert [one.exit_code for one in lab.seen("blue")] == [None]

    end = time.monotonic() + 60
    again: Sequence[Replica] = ()
    while not again and time.monotonic() < end:
        again = [one for one in lab.seen("blue") if one.status == "running" and one.restarts]
        time.sleep(0.1)

    assert [one.exit_code for one in again] == [3]


def test_catches_a_container_that_is_healthy_once_and_dead_two_seconds_later(lab: Lab) -> None:
    check = "healthcheck: {test: [CMD, /bin/busybox, 'true'], interval: 200ms}"
    error = failing(lab, lone("echo last words; /bin/busybox sleep 2", check), settle=4)

    assert "healthy at first, but 4 s later" in error.message
    assert "web-1: last words" in error.details


def test_reports_what_the_products_own_check_said(lab: Lab) -> None:
    check = (
        "healthcheck: {test: [CMD, /bin/busybox, sh, -c, 'echo queue is full; exit 1'], interval: 200ms, retries: 2}"
    )
    error = failing(lab, lone("/bin/busybox sleep 600", check))

    assert "unhealthy; its health check says: queue is full" in error.message


def test_names_who_is_to_blame_when_compose_gives_up(lab: Lab) -> None:
    text = """\
services:
  behind: {image: x, command: [sh, -c, 'echo no licence; /bin/busybox sleep 600'],
           healthcheck: {test: [CMD, /bin/busybox, 'false'], interval: 200ms, retries: 2}}
  web: {image: x, command: [sh, -c, 'true'], depends_on: {behind: {condition: service_healthy}}}
"""
    services = {"web": Service(image="busybox"), "behind": Service(image="busybox")}
    target = lab.target("blue", services=services, templates={"compose.yaml.j2": text.encode()})

    with pytest.raises(SealiftError, match="exit code 1"):
        run(target.up("blue"))
    error = diagnose(lab.seen("blue"), lambda replica: lab.inventory.last_log_lines(replica.id, 5))
    assert error is not None
    assert "behind-1 of note-board: unhealthy" in error.message
    assert error.details == ("behind-1: no licence",)


def test_a_service_without_a_check_is_well_once_it_runs(lab: Lab) -> None:
    target = lab.target(
        "blue", services={"web": Service(image="busybox")}, templates=lone("/bin/busybox sleep 600", "init: true")
    )
    (replica,) = lab.up(target, "blue")
    assert (replica.health, replica_state(replica, replica.started_at)) == ("none", "healthy")


def test_waits_for_what_is_meant_to_end_and_does_not_start_it_again(lab: Lab) -> None:
    text = """\
services:
  job: {command: [sh, -c, 'echo done'], image: x}
  web: {command: [sh, -c, '/bin/busybox sleep 600'], image: x, init: true,
        depends_on: {job: {condition: service_completed_successfully}}}
"""
    services = {"web": Service(image="busybox"), "job": Service(image="busybox")}
    target = lab.target("blue", services=services, templates={"compose.yaml.j2": text.encode()})

    job, web = lab.up(target, "blue")
    assert (job.status, job.restarts, replica_state(job, 0.0)) == ("exited", 0, "completed")
    assert web.status == "running"


def test_finds_containers_whose_names_are_odd(lab: Lab, engine: docker.DockerClient) -> None:
    target = lab.target(
        "blue", services={"web": Service(image="busybox")}, templates=lone("/bin/busybox sleep 600", "init: true")
    )
    (replica,) = lab.up(target, "blue")
    container: Container = engine.containers.get(replica.id)
    container.rename(f"6da1b5b99941_{container.name}")

    assert [one.id for one in lab.seen("blue")] == [replica.id]
    assert [one.id for one in lab.up(target, "blue")] == [replica.id]


@pytest.mark.parametrize("path", ["/nowhere/docker.sock", "stale"])
def test_says_that_no_engine_is_there_and_what_to_do(path: str, tmp_path: Path) -> None:
    if path == "stale":
        path = str(tmp_path / "d.sock")
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(path)
    with pytest.raises(SealiftError) as refused, Inventory(f"unix://{path}", Names("")) as inventory:
        inventory.engine()

    assert refused.value.id == "engine-missing"
    assert refused.value.exit_code == 7
    assert path in refused.value.message
    assert "nobody answers" in refused.value.message or "no such socket" in refused.value.message
    assert "Docker" in refused.value.hint


def test_says_that_the_engine_is_not_for_this_user(tmp_path: Path) -> None:
    path = tmp_path / "d.sock"
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(path))
        engine.listen()
        path.chmod(0)
        os.seteuid(65534)
        try:
            with pytest.raises(SealiftError, match="not permitted") as refused:
                Inventory(f"unix://{path}", Names(""))
        finally:
            os.seteuid(0)
    assert refused.value.id == "engine-missing"
    assert "root" in refused.value.hint


def test_finds_dockers_compose_else_the_carried_one(unique_name: Callable[[str], str], tmp_path: Path) -> None:
    environment = engine_environment(parse_site("{site: h}"), None)
    assert find_compose((), environment) == ("docker", "compose")

    where = subprocess.run(
        ["docker", "info", "-f", '{{range .ClientInfo.Plugins}}{{if eq .Name "compose"}}{{.Path}}{{end}}{{end}}'],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    missing = (unique_name("no-docker"),)
    assert find_compose((Path("/nowhere/docker-compose"), Path(where)), environment, missing) == (where,)
    old = tmp_path / "docker-compose"
    old.write_text("#!/bin/sh\necho 2.9.0\n")
    old.chmod(0o755)
    with pytest.raises(SealiftError) as refused:
        find_compose((Path("/nowhere/docker-compose"), old), environment, missing)
    assert refused.value.id == "compose-missing"
