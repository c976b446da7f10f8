"""The switch under load, front door without retries, clients that never try twice: nothing fails."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from installer.site.names import COLOURS, other
from tests.edge.clients import Load, Session
from tests.edge.conftest import HTTP, TCP, Door

pytestmark = [pytest.mark.e2e, pytest.mark.load]

LEAST = 5000


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept-alive", "new-connections"])
def test_no_request_fails_while_the_colour_flips(door: Door, keep_alive: bool) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    sessions = [Session(door.address, TCP) for _ in range(10)]
    sessions += [Session(door.address, HTTP, upgrade=True) for _ in range(10)]
    with Load(door.address, HTTP, keep_alive, least=LEAST) as load:
        for colour in COLOURS * 10:
            load.await_sent(150)
            door.runtime.set_colour("lan-chat", colour)
    assert load.failures == []
    assert load.answers.total() >= LEAST
    assert load.answers["blue"] > 500
    assert load.answers["green"] > 500
    assert {session.colour() for session in sessions} == {"blue"}
    assert door.runtime.errors("lan-chat").errors == 0


@pytest.mark.parametrize("keep_alive", [True, False], ids=["kept-alive", "new-connections"])
def test_no_request_fails_while_haproxy_reloads(door: Door, keep_alive: bool) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    sessions = [Session(door.address, TCP) for _ in range(10)]
    sessions += [Session(door.address, HTTP, upgrade=True) for _ in range(10)]
    with Load(door.address, HTTP, keep_alive, least=LEAST) as load:
        for turn in range(10):
            load.await_sent(200)
            door.runtime.apply(replace(door.config, drain=float(turn + 100_000)))
            load.await_sent(50)
            door.runtime.set_colour("lan-chat", other(door.runtime.colours()["lan-chat"]))
    assert load.failures == []
    assert load.answers.total() >= LEAST
    assert {session.colour() for session in sessions} == {"blue"}


def test_no_request_begun_after_the_switch_reaches_the_old_colour(door: Door) -> None:
    only_blue = tuple(back for back in door.config.backends if back.colour == "blue")
    door.runtime.apply(replace(door.config, backends=only_blue))
    door.runtime.set_colour("lan-chat", "blue")
    with Load(door.address, HTTP, keep_alive=True) as load:
        load.await_sent(500)
        door.runtime.apply(door.config)
        door.runtime.set_colour("lan-chat", "green")
        time.sleep(0.5)  # what was under way has been answered
        before = load.answers["blue"]
        load.await_sent(1500)
    assert load.failures == []
    assert load.answers["blue"] == before
    assert load.answers["green"] > 1000


def test_no_request_fails_while_a_configuration_is_refused(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    with Load(door.address, HTTP, keep_alive=False, least=2000) as load:
        for number in range(3):
            load.await_sent(200)
            front = replace(door.config.frontends[0], tls_pem=f"tls/missing-{number}.pem")
            with pytest.raises(Exception, match="haproxy refuses the configuration"):
                door.runtime.apply(replace(door.config, frontends=(front, *door.config.frontends[1:])))
    assert load.failures == []
    assert set(load.answers) == {"blue"}


CHANGES_WITHOUT_END = """
import pathlib, sys
from dataclasses import replace
from installer.edge.config import EdgeConfig
from installer.edge.container import edge_runtime
from installer.site.names import Names, other
names, image, folder, text = sys.argv[1:]
runtime = edge_runtime(Names(names), image, pathlib.Path(folder))
config = EdgeConfig.from_json(text)
print("ready", flush=True)
while True:
    config = replace(config, drain=config.drain + 100_000)
    runtime.apply(config)
    runtime.set_colour("lan-chat", other(runtime.colours()["lan-chat"]))
"""


def test_no_request_fails_and_all_agree_when_killed_anywhere(door: Door, image_id: str) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    arguments = [door.names.suffix, image_id, str(door.runtime.folder), door.config.to_json()]
    with Load(door.address, HTTP, keep_alive=True, connections=4) as load:
        for turn in range(12):
            child = subprocess.Popen(
                [sys.executable, "-c", CHANGES_WITHOUT_END, *arguments], stdout=subprocess.PIPE, text=True
            )
            assert child.stdout
            assert child.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.8))
            child.kill()
            assert child.wait() == -9, "it ended by itself"
            child.stdout.close()
            colour = COLOURS[turn % 2]
            door.runtime.apply(door.config)
            door.runtime.set_colour("lan-chat", colour)
            assert door.runtime.serves(door.config)
            left = {path.name for path in door.runtime.folder.rglob("*") if not path.is_socket()}
            assert left == {"haproxy.cfg", "maps", "colour.map", "run", "tls"}
            assert door.runtime.colours() == door.runtime.colours_on_disk() == {"lan-chat": colour}
    assert load.failures == []
    assert load.sent > 1000
