"""A newer HAProxy takes over from the one that serves: nothing fails, no session ends."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace

import docker
import pytest

from installer.edge import succession
from installer.edge.container import (
    all_edges,
    id_of,
    image_of_edge,
    inspect_edge,
    keep_up,
    let_go,
    next_edge,
    rename,
    run_successor,
)
from installer.edge.control import MASTER, predecessor
from installer.edge.lifecycle import stop
from installer.errors import SealiftError
from installer.system import run
from tests.edge.clients import KeptAlive, Load, Session, ask
from tests.edge.conftest import HTTP, TCP, Door

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def newer_image(engine: docker.DockerClient, image_id: str) -> Iterator[str]:
    """The same HAProxy as another image."""
    made = engine.api.create_container(image_id, command="-v")
    newer = engine.api.commit(made["Id"], changes='LABEL "newer"="yes"')["Id"]
    engine.api.remove_container(made["Id"])
    yield newer
    engine.images.remove(newer)


@pytest.fixture
def served(door: Door) -> Iterator[Door]:
    """A front door behind which blue serves."""
    door.runtime.set_colour("lan-chat", "blue")
    yield door
    stop(door.names)


@pytest.mark.load
@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept-alive", "new-connections"])
def test_no_request_fails_and_no_session_ends(served: Door, newer_image: str, image_id: str, keep_alive: bool) -> None:
    door = served
    sessions = [Session(door.address, TCP) for _ in range(25)]
    sessions += [Session(door.address, HTTP, upgrade=True) for _ in range(25)]
    with Load(door.address, HTTP, keep_alive, least=5000) as load:
        for image in (newer_image, image_id):
            load.await_sent(500)
            succession.replace(door.names, image, door.runtime.folder)
            load.await_sent(500)
        door.runtime.set_colour("lan-chat", "green")
        load.await_sent(500)
        before = load.answers["blue"]
        load.await_sent(500)
    assert load.failures == []
    assert load.answers["blue"] - before <= 0, "a request reached the old colour after the switch"
    assert {session.colour() for session in sessions} == {"blue"}
    assert door.runtime.sessions("lan-chat.relay.blue") >= 25
    for session in sessions:
        session.close()


def test_the_old_one_hands_over_what_it_still_gets(served: Door, newer_image: str) -> None:
    door = served
    connection = KeptAlive(door.address, HTTP)
    assert connection.get()[0] == "blue"
    succession.replace(door.names, newer_image, door.runtime.folder)
    door.runtime.set_colour("lan-chat", "green")
    assert connection.get()[0] == "green"
    connection.close()


def test_the_new_one_is_changed_reloaded_and_started_again_like_any_other(served: Door, newer_image: str) -> None:
    door = served
    succession.replace(door.names, newer_image, door.runtime.folder)
    succession.replace(door.names, newer_image, door.runtime.folder)
    door.runtime.reload()
    door.runtime.set_colour("lan-chat", "green")
    door.container("kill")
    door.container("start")
    door.runtime.await_running()
    assert ask(door.address, HTTP)[1].partition("\n")[0] == "green"
    assert door.runtime.colours() == door.runtime.colours_on_disk() == {"lan-chat": "green"}
    succession.bury(door.names)
    assert len(run(all_edges(door.names)).out.split()) == 1
    policy = subprocess.run(
        ["docker", "inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", door.names.edge],
        capture_output=True,
        text=True,
    )
    assert policy.stdout.strip() == "always"


def test_an_image_that_cannot_serve_leaves_the_old_one_as_it_was(served: Door, engine: docker.DockerClient) -> None:
    door = served
    registry = next(image for image in engine.images.list() if any("registry" in tag for tag in image.tags))
    with Load(door.address, HTTP, keep_alive=False) as load:
        with pytest.raises(SealiftError):
            succession.replace(door.names, str(registry.id), door.runtime.folder)
        load.await_sent(100)
    assert load.failures == []
    assert run(inspect_edge(door.names)).out.split() == ["running", "0"]
    door.runtime.apply(door.config)
    door.runtime.set_colour("lan-chat", "green")
    assert ask(door.address, HTTP)[1].partition("\n")[0] == "green"
    assert len(run(all_edges(door.names)).out.split()) == 1


@pytest.mark.parametrize(
    ("killed", "settle"),
    [("started", False), ("started", True), ("kept up", True), ("renamed", False), ("renamed", True)],
)
def test_one_serves_wherever_a_kill_ended_it(served: Door, newer_image: str, killed: str, settle: bool) -> None:
    door = served
    names, folder = door.names, door.runtime.folder
    old = run(id_of(names.edge)).out.strip()
    with Load(door.address, HTTP, keep_alive=True) as load:
        os.link(folder / MASTER, folder / predecessor(old))
        run(run_successor(names, newer_image, folder))
        time.sleep(0.3)
        if killed != "started":
            run(keep_up(next_edge(names), "always"))
            run(keep_up(old, "no"))
        if killed in ("let go", "renamed"):
            run(let_go(old))
        if killed == "renamed":
            run(rename(old, f"{names.edge}-{old[:8]}"))
        load.await_sent(100)
        if settle:
            succession.settle(names, folder)
        else:
            succession.replace(names, newer_image, folder)
        load.await_sent(100)
        door.runtime.apply(replace(door.config, drain=11.0))
        door.runtime.set_colour("lan-chat", "green")
        load.await_sent(200)
    assert load.failures == []
    assert ask(door.address, HTTP)[1].partition("\n")[0] == "green"
    kept = settle and killed == "started"
    assert run(image_of_edge(names)).out.strip() == (
        run(image_of_edge(names, old)).out.strip() if kept else newer_image
    )
    succession.bury(names)
    assert len(run(all_edges(names)).out.split()) == 1
