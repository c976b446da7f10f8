"""From nothing to a running front door, and what is refused on the way."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from installer.edge import files, lifecycle
from installer.edge.config import Backend, EdgeConfig, Frontend, Server
from installer.edge.container import check_config, image_of_edge, labels, run_edge
from installer.edge.runtime import EdgeRuntime
from installer.errors import SealiftError
from installer.site.names import Names
from installer.system import run
from tests.edge.clients import Session, ask
from tests.edge.conftest import HTTP, TCP, Door, Origin, own_address, two_colours

pytestmark = pytest.mark.e2e


def containers(engine: docker.DockerClient, names: Names) -> list[str]:
    """Names of the containers of this site, running or not."""
    marks = [f"{name}={value}" for name, value in labels(names).items()]
    return [str(container.name) for container in engine.containers.list(all=True, filters={"label": marks})]


def other_user_can(path: Path, *, read: bool) -> bool:
    """Whether user 10002 gets at a file or folder."""
    command = ["setpriv", "--reuid=10002", "--regid=10002", "--clear-groups", "test", "-r" if read else "-x", path]
    return subprocess.run(command, check=False).returncode == 0


# The first start


def test_an_empty_door_runs_and_takes_a_product(
    site_names: Names, image_id: str, edge_folder: Path, origin: Origin, engine: docker.DockerClient
) -> None:
    try:
        runtime = lifecycle.start(site_names, image_id, edge_folder, EdgeConfig())
        assert runtime.colours() == {}
        assert run(image_of_edge(site_names)).out.strip() == image_id
        address = own_address()
        runtime.apply(two_colours("wiki", address, {"green": origin("green")}))
        assert ask(address, HTTP)[0] == 503
        runtime.set_colour("wiki", "green")
        assert ask(address, HTTP)[1].startswith("green\n")
        runtime.set_colour("wiki", None)
        runtime.apply(EdgeConfig())
        with pytest.raises(ConnectionRefusedError):
            ask(address, HTTP)
    finally:
        lifecycle.stop(site_names)
    assert containers(engine, site_names) == []
    lifecycle.stop(site_names)


def test_starting_again_replaces_the_container_and_keeps_the_colour(door: Door, image_id: str) -> None:
    door.runtime.set_colour("lan-chat", "green")
    runtime = lifecycle.start(door.names, image_id, door.runtime.folder, door.config)
    assert runtime.colours() == {"lan-chat": "green"}
    assert ask(door.address, HTTP)[1].startswith("green\n")


def test_refuses_to_start_on_a_taken_port_and_leaves_nothing(
    site_names: Names, image_id: str, edge_folder: Path, engine: docker.DockerClient
) -> None:
    address = own_address()
    with socket.create_server((address, TCP)), pytest.raises(SealiftError, match=f"port {TCP} of {address}") as refusal:
        lifecycle.start(site_names, image_id, edge_folder, two_colours("wiki", address, {}))
    assert refusal.value.id == "port-taken"
    assert containers(engine, site_names) == []


def test_tells_haproxys_own_words_when_it_cannot_bind(
    site_names: Names, image_id: str, edge_folder: Path, engine: docker.DockerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes the port between our look and the start."""
    address = own_address()
    monkeypatch.setattr("installer.edge.runtime.refuse_taken", lambda *_: None)
    with socket.create_server((address, TCP)), pytest.raises(SealiftError, match="cannot bind socket") as refusal:
        lifecycle.start(site_names, image_id, edge_folder, two_colours("wiki", address, {}))
    assert refusal.value.id == "edge-failed"
    assert any(f"{address}:{TCP}" in line for line in refusal.value.details)
    assert containers(engine, site_names) == []


def test_refuses_an_address_of_another_host(site_names: Names, image_id: str, edge_folder: Path) -> None:
    with pytest.raises(SealiftError, match=r"192\.0\.2\.1 is not an address of this host"):
        lifecycle.start(site_names, image_id, edge_folder, two_colours("wiki", "192.0.2.1", {}))


def test_two_doors_never_share_a_port(door: Door, image_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same user may bind a port twice where both allow it, and each would get half of the people."""
    door.runtime.set_colour("lan-chat", "blue")
    monkeypatch.setattr("installer.edge.runtime.refuse_taken", lambda *_: None)
    second = Names(door.names.suffix + "-2")
    with pytest.raises(SealiftError, match="cannot bind socket"):
        lifecycle.start(second, image_id, door.runtime.folder.with_name("edge-2"), door.config)
    assert {ask(door.address, HTTP)[1].splitlines()[0] for _ in range(20)} == {"blue"}


# Changes that are refused


def test_a_refused_configuration_leaves_the_old_one_running(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    before = door.runtime.show_info()["Pid"]
    front = replace(door.config.frontends[0], tls_pem="tls/missing.pem")
    with pytest.raises(SealiftError, match=r"haproxy refuses the configuration: .*tls/missing\.pem") as refusal:
        door.runtime.apply(replace(door.config, frontends=(front,)))
    assert refusal.value.id == "edge-failed"
    assert door.runtime.show_info()["Pid"] == before
    assert door.runtime.serves(door.config)
    assert ask(door.address, HTTP)[1].startswith("blue\n")
    assert sorted(path.name for path in door.runtime.folder.iterdir()) == ["haproxy.cfg", "maps", "run", "tls"]


def test_a_port_taken_meanwhile_leaves_the_old_configuration_running(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    session = Session(door.address, TCP)
    assert session.colour() == "blue"
    monkeypatch.setattr("installer.edge.runtime.refuse_taken", lambda *_: None)
    moved = replace(door.config.frontends[0], bind=f"{door.address}:7000")
    with (
        socket.create_server((door.address, 7000)),
        pytest.raises(SealiftError, match=r"did not take the new configuration: .*cannot bind socket"),
    ):
        door.runtime.apply(replace(door.config, frontends=(moved, door.config.frontends[1])))
    assert door.runtime.serves(door.config)
    assert ask(door.address, HTTP)[1].startswith("blue\n")
    assert session.colour() == "blue"
    door.runtime.set_colour("lan-chat", "green")
    assert ask(door.address, HTTP)[1].startswith("green\n")


def test_refuses_a_taken_port_before_anything_changes(door: Door) -> None:
    before = door.runtime.show_info()["Pid"]
    moved = replace(door.config.frontends[0], bind=f"{door.address}:7001")
    with socket.create_server((door.address, 7001)), pytest.raises(SealiftError) as refusal:
        door.runtime.apply(replace(door.config, frontends=(moved, door.config.frontends[1])))
    assert refusal.value.id == "port-taken"
    assert door.runtime.show_info()["Pid"] == before
    door.runtime.apply(replace(door.config, frontends=(moved, door.config.frontends[1])))
    assert ask(door.address, 7001)[0] == 503


def test_a_kill_after_the_file_and_before_the_reload_is_mended(door: Door) -> None:
    """The next run finds another configuration on disk than the one that runs."""
    moved = replace(door.config, frontends=(replace(door.config.frontends[0], bind=f"{door.address}:7002"),))
    door.runtime.prepare(moved)
    door.runtime.apply(door.config)
    assert door.runtime.serves(door.config)
    door.runtime.prepare(moved)
    door.runtime.apply(moved)
    assert ask(door.address, 7002)[0] == 503


# The image


def test_loads_the_image_from_its_archive_and_refuses_another(
    engine: docker.DockerClient, image_id: str, tmp_path: Path
) -> None:
    lifecycle.load_image(tmp_path / "never-read.tar", image_id)
    archive = tmp_path / "other.tar"
    with archive.open("wb") as file:
        file.writelines(engine.images.get(image_id).save())
    assert tarfile.is_tarfile(archive)
    wrong = "sha256:" + "0" * 64
    with pytest.raises(SealiftError, match="does not hold the image sha256:0000") as refusal:
        lifecycle.load_image(archive, wrong)
    assert refusal.value.id == "edge-failed"


def test_the_container_has_one_right_only(door: Door, engine: docker.DockerClient) -> None:
    attributes = engine.containers.get(door.names.edge).attrs
    host = attributes["HostConfig"]
    assert attributes["Config"]["User"] == "10001:10001"
    assert host["CapDrop"] == ["ALL"]
    assert [name.removeprefix("CAP_") for name in host["CapAdd"]] == ["NET_BIND_SERVICE"]
    assert host["ReadonlyRootfs"] is True
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["NetworkMode"] == "host"
    assert host["RestartPolicy"]["Name"] == "always"
    assert host["LogConfig"]["Config"]["max-size"] == "10m"
    writable = [mount["Destination"] for mount in attributes["Mounts"] if mount["RW"]]
    assert writable == ["/edge/run"], "whoever takes HAProxy over could choose what the next start reads"


def test_commands_hold_no_tag(image_id: str, edge_folder: Path, site_names: Names) -> None:
    for command in (run_edge(site_names, image_id, edge_folder), check_config(image_id, edge_folder)):
        assert image_id in command.argv
        assert "never" in command.argv


def test_a_folder_with_a_long_and_odd_name_works(
    site_names: Names, image_id: str, edge_folder: Path, origin: Origin
) -> None:
    folder = edge_folder.parent / ("a long, odd: name " * 6) / "edge"
    address = own_address()
    try:
        runtime = lifecycle.start(site_names, image_id, folder, two_colours("wiki", address, {"blue": origin("blue")}))
        runtime.set_colour("wiki", "blue")
        assert ask(address, HTTP)[1].startswith("blue\n")
    finally:
        lifecycle.stop(site_names)


def test_the_longest_names_and_ipv6_work(
    site_names: Names, image_id: str, edge_folder: Path, origin: Origin, free_port: Callable[[], int]
) -> None:
    product, entry, port = "p" * 40, "e" * 40, free_port()
    front = Frontend(product, entry, "http", f"[::1]:{port}", None, f"[::1]:{free_port()}")
    back = Backend(product, "blue", entry, "http", (Server("s" * 63, origin("blue"), HTTP),))
    try:
        runtime = lifecycle.start(site_names, image_id, edge_folder, EdgeConfig((front,), (back,)))
        runtime.set_colour(product, "blue")
        runtime.reload()
        assert ask("::1", port)[1].startswith("blue\n")
        assert runtime.errors(product).responses_5xx == 0
    finally:
        lifecycle.stop(site_names)


def test_what_fails_is_logged_as_json_without_its_query(door: Door, engine: docker.DockerClient) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    assert ask(door.address, HTTP, "/fine")[0] == 200
    door.runtime.set_colour("lan-chat", None)
    assert ask(door.address, HTTP, '/a"b\\c?token=secret')[0] == 503
    with pytest.raises(AssertionError, match="cut"):
        Session(door.address, TCP).colour()
    log = engine.containers.get(door.names.edge).logs(stdout=True, stderr=False).decode()
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert [(line["entry"], line.get("status"), line.get("path")) for line in lines] == [
        ("lan-chat.web", 503, '/a"b\\c'),
        ("lan-chat.relay", None, None),
    ]
    assert "secret" not in log


# What others can see


def test_nobody_else_reads_the_folder(door: Door) -> None:
    folder = door.runtime.folder
    folder.parent.chmod(0o755)  # the state dir's own mode must not be what protects it
    for path in (folder, *folder.rglob("*")):
        seen = path.lstat()
        assert (seen.st_uid, seen.st_gid) == (10001, 10001), path
        assert stat.S_IMODE(seen.st_mode) & 0o077 == 0, path
        assert not other_user_can(path, read=True), path
    assert not other_user_can(folder, read=False)


def test_mends_a_folder_that_others_can_read(edge_folder: Path) -> None:
    files.ensure_folder(edge_folder)
    files.write_colours(edge_folder, {"wiki": "blue"})
    edge_folder.chmod(0o777)
    os.chown(edge_folder / "maps", 0, 0)
    files.ensure_folder(edge_folder)
    assert stat.S_IMODE(edge_folder.stat().st_mode) == 0o700
    assert (edge_folder / "maps").stat().st_uid == files.EDGE_USER
    assert files.read_colours(edge_folder) == {"wiki": "blue"}


def test_tidies_what_a_killed_run_left(door: Door) -> None:
    left = [door.runtime.folder / name for name in ("candidate.cfg", ".haproxy.cfg.new", "maps/.colour.map.new")]
    for path in left:
        path.touch()
    door.runtime.apply(door.config)
    assert [path for path in left if path.exists()] == []


def test_refuses_a_link_where_a_folder_must_be(edge_folder: Path, tmp_path: Path) -> None:
    files.ensure_folder(edge_folder)
    (edge_folder / "tls").rmdir()
    (edge_folder / "tls").symlink_to(tmp_path)
    with pytest.raises(SealiftError):
        files.ensure_folder(edge_folder)
    assert tmp_path.stat().st_uid != files.EDGE_USER


def test_says_so_when_there_is_no_door(edge_folder: Path) -> None:
    runtime = EdgeRuntime(edge_folder)
    assert not runtime.running()
    for question in (runtime.show_info, runtime.show_stat, runtime.colours, runtime.reload):
        with pytest.raises(SealiftError) as refusal:
            question()
        assert refusal.value.id == "edge-unreachable"
