"""The switch: all entry points at once, never a guessed colour, nothing lost by a reload, a restart or a kill."""

from __future__ import annotations

import contextlib
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from installer.edge import files
from installer.edge.config import EdgeConfig
from installer.errors import SealiftError
from installer.site.names import COLOURS, Colour
from tests.edge.clients import KeptAlive, Session, ask
from tests.edge.conftest import HTTP, PREVIEW_HTTP, PREVIEW_TCP, TCP, Door, Origin, merged, own_address, two_colours

pytestmark = pytest.mark.e2e


def answering(door: Door) -> tuple[int, str]:
    """Status and colour of an answer through the front door."""
    status, body = ask(door.address, HTTP)
    return status, body.partition("\n")[0]


def agree(door: Door, expected: dict[str, Colour]) -> None:
    """Disk and HAProxy say the same."""
    assert door.runtime.colours() == expected
    assert door.runtime.colours_on_disk() == expected


def until(promise: Callable[[], bool], seconds: float = 10.0) -> None:
    """Waits for something that takes its time."""
    deadline = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_nobody_serves_before_the_first_switch(door: Door) -> None:
    assert answering(door)[0] == 503
    with pytest.raises(AssertionError, match="cut"):
        Session(door.address, TCP).colour()
    agree(door, {})


def test_all_entry_points_flip_together(door: Door) -> None:
    turns: tuple[Colour, ...] = ("blue", "green", "blue")
    for colour in turns:
        door.runtime.set_colour("lan-chat", colour)
        assert answering(door) == (200, colour)
        assert Session(door.address, TCP).colour() == colour
        assert Session(door.address, HTTP, upgrade=True).colour() == colour
        agree(door, {"lan-chat": colour})


def test_preview_shows_the_idle_colour_while_the_other_serves(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    assert ask(door.address, PREVIEW_HTTP)[1].startswith("green\n")
    assert Session(door.address, PREVIEW_TCP).colour() == "green"
    assert answering(door) == (200, "blue")


def test_preview_without_a_colour_is_answered_by_nobody(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    fronts = tuple(replace(front, preview_colour=None) for front in door.config.frontends)
    door.runtime.apply(replace(door.config, frontends=fronts))
    assert ask(door.address, PREVIEW_HTTP)[0] == 503
    assert answering(door) == (200, "blue")


def test_taking_the_colour_away_lets_nobody_serve(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    door.runtime.set_colour("lan-chat", None)
    assert answering(door)[0] == 503
    agree(door, {})


def test_refuses_a_colour_that_has_no_servers(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    only_blue = tuple(back for back in door.config.backends if back.colour == "blue")
    door.runtime.apply(replace(door.config, backends=only_blue))
    with pytest.raises(SealiftError, match="no green servers") as refusal:
        door.runtime.set_colour("lan-chat", "green")
    assert refusal.value.id == "edge-failed"
    with pytest.raises(SealiftError, match="nothing to switch to"):
        door.runtime.set_colour("wiki", "blue")
    assert answering(door) == (200, "blue")
    agree(door, {"lan-chat": "blue"})


def test_an_entry_point_of_the_other_release_only_is_answered_by_nobody(door: Door) -> None:
    """A rollback to a release without it must work all the same."""
    without = tuple(back for back in door.config.backends if (back.colour, back.entry) != ("blue", "relay"))
    door.runtime.apply(replace(door.config, backends=without))
    door.runtime.set_colour("lan-chat", "green")
    assert Session(door.address, TCP).colour() == "green"
    door.runtime.set_colour("lan-chat", "blue")
    assert answering(door) == (200, "blue")
    with pytest.raises(AssertionError, match="cut"):
        Session(door.address, TCP).colour()


def test_one_product_does_not_move_another(door: Door, origin: Origin) -> None:
    second = two_colours("wiki", own_address(), {"blue": origin("wiki-blue")})
    door.runtime.set_colour("lan-chat", "green")
    door.runtime.apply(merged(door.config, second))
    door.runtime.set_colour("wiki", "blue")
    assert answering(door) == (200, "green")
    door.runtime.set_colour("wiki", None)
    agree(door, {"lan-chat": "green"})
    assert answering(door) == (200, "green")


def test_a_switch_right_after_a_reload_is_never_lost(door: Door) -> None:
    for turn in range(10):
        colour = COLOURS[turn % 2]
        door.runtime.reload()
        door.runtime.set_colour("lan-chat", colour)
        assert answering(door) == (200, colour)
        agree(door, {"lan-chat": colour})
        door.runtime.reload()
        assert answering(door) == (200, colour)
        agree(door, {"lan-chat": colour})


def test_applying_the_same_again_starts_no_new_worker(door: Door) -> None:
    before = door.runtime.show_info()["Pid"]
    door.runtime.apply(door.config)
    assert door.runtime.show_info()["Pid"] == before
    assert door.runtime.serves(door.config)
    assert not door.runtime.serves(replace(door.config, retries=1))


def test_sessions_stay_through_switch_and_reload_and_are_counted(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    tcp = [Session(door.address, TCP) for _ in range(5)]
    sockets = [Session(door.address, HTTP, upgrade=True) for _ in range(5)]
    acts: tuple[Callable[[], None], ...] = (
        lambda: door.runtime.set_colour("lan-chat", "green"),
        door.runtime.reload,
        lambda: door.runtime.apply(replace(door.config, retries=1)),
        lambda: door.runtime.set_colour("lan-chat", "blue"),
        lambda: door.runtime.set_colour("lan-chat", "green"),
    )
    for act in acts:
        act()
        assert {session.colour() for session in tcp + sockets} == {"blue"}
        assert door.runtime.sessions("lan-chat.relay.blue") == 5
        assert door.runtime.sessions("lan-chat.web.blue") == 5
    assert door.runtime.sessions("lan-chat.relay.green") == 0
    for session in tcp + sockets:
        session.close()
    until(lambda: door.runtime.sessions("lan-chat.relay.blue") + door.runtime.sessions("lan-chat.web.blue") == 0)


def test_a_connection_from_before_the_reload_is_answered_by_the_new_colour(door: Door, origin: Origin) -> None:
    """It idles in a worker whose configuration doesn't know green yet: still no request reaches blue any more."""
    only_blue = tuple(back for back in door.config.backends if back.colour == "blue")
    door.runtime.apply(replace(door.config, backends=only_blue))
    door.runtime.set_colour("lan-chat", "blue")
    idle = [KeptAlive(door.address, HTTP) for _ in range(4)]
    assert {connection.get() for connection in idle} == {("blue", True)}
    door.runtime.apply(door.config)
    door.runtime.set_colour("lan-chat", "green")
    assert {connection.get() for connection in idle[:2]} == {("green", False)}
    door.runtime.set_colour("lan-chat", "blue")
    assert {connection.get() for connection in idle[2:]} == {("blue", False)}
    for connection in idle:
        connection.close()


@pytest.mark.parametrize("verb", ["restart", "kill"])
def test_a_restart_keeps_the_colour(door: Door, verb: str) -> None:
    door.runtime.set_colour("lan-chat", "green")
    door.container(verb)
    if verb == "kill":
        door.container("start")  # killed by hand, the engine leaves it; by anything else it starts it again
    door.runtime.await_running()
    assert answering(door) == (200, "green")
    agree(door, {"lan-chat": "green"})


def test_a_killed_worker_is_back_with_its_colour(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "green")
    pid = subprocess.run(
        ["docker", "inspect", "-f", "{{.State.Pid}}", door.names.edge], capture_output=True, text=True, check=True
    ).stdout.strip()
    children = subprocess.run(["pgrep", "-P", pid], capture_output=True, text=True, check=True).stdout.split()
    started = door.runtime.show_info()
    subprocess.run(["kill", "-9", *children], check=True)
    until(lambda: door.runtime.running() and door.runtime.show_info()["Uptime"] != started["Uptime"])
    door.runtime.await_running()
    assert answering(door) == (200, "green")


KILLED_IN_THE_SWITCH = """
import os, pathlib, signal, sys
from installer.edge import colours
from installer.edge.runtime import EdgeRuntime
colours.tell = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
EdgeRuntime(pathlib.Path(sys.argv[1])).set_colour("lan-chat", "green")
"""


@pytest.mark.parametrize("mend", ["again", "apply", "reload", "restart"])
def test_a_kill_between_map_file_and_haproxy_is_mended(door: Door, mend: str) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    died = subprocess.run([sys.executable, "-c", KILLED_IN_THE_SWITCH, door.runtime.folder], check=False)
    assert died.returncode == -9
    assert door.runtime.colours() == {"lan-chat": "blue"}, "the kill came too late"
    assert door.runtime.colours_on_disk() == {"lan-chat": "green"}
    if mend == "again":
        door.runtime.set_colour("lan-chat", "green")
    elif mend == "apply":
        door.runtime.apply(door.config)
    elif mend == "reload":
        door.runtime.reload()
    else:
        door.container("restart")
        door.runtime.await_running()
    agree(door, {"lan-chat": "green"})
    assert answering(door) == (200, "green")


def test_refuses_a_map_that_does_not_read(door: Door) -> None:
    door.runtime.set_colour("lan-chat", "blue")
    files.write_file(door.runtime.folder, files.COLOUR_MAP, b"lan-chat red\n")
    with pytest.raises(SealiftError, match="does not read: 'lan-chat red'") as refusal:
        door.runtime.set_colour("lan-chat", "green")
    assert refusal.value.id == "edge-failed"
    assert answering(door) == (200, "blue")


def test_ready_only_after_a_check_has_passed(door: Door) -> None:
    until(lambda: door.runtime.ready("lan-chat", "green"))
    dead = two_colours("lan-chat", door.address, {"green": own_address()})
    blue = tuple(back for back in door.config.backends if back.colour == "blue")
    door.runtime.apply(replace(dead, backends=(*blue, *dead.backends)))
    for _ in range(50):
        assert not door.runtime.ready("lan-chat", "green")
    until(lambda: door.runtime.ready("lan-chat", "blue"))
    assert not door.runtime.ready("unknown", "blue")


def test_errors_at_the_front_door_are_counted(door: Door) -> None:
    start = door.runtime.errors("lan-chat")
    answering(door)
    refused = door.runtime.errors("lan-chat").since(start)
    assert (refused.requests, refused.responses_5xx, refused.errors) == (1, 1, 1)
    door.runtime.set_colour("lan-chat", "blue")
    good = door.runtime.errors("lan-chat")
    answering(door)
    assert door.runtime.errors("lan-chat").since(good).errors == 0
    door.runtime.reload()
    assert door.runtime.errors("lan-chat").since(good).requests == 0, "a new worker counts from zero"
    assert door.runtime.errors("unknown").requests == 0


def test_says_so_when_nobody_answers(door: Door) -> None:
    door.container("stop")
    with pytest.raises(SealiftError) as refusal:
        door.runtime.apply(EdgeConfig())
    assert refusal.value.id == "edge-unreachable"
    assert not door.runtime.running()
    assert files.read_config(door.runtime.folder) is not None


def test_people_who_leave_in_the_middle_are_no_errors(door: Door) -> None:
    """Else a bake would take a switch back because somebody closed a window."""
    door.runtime.set_colour("lan-chat", "blue")
    start = door.runtime.errors("lan-chat")
    for upgrade, port in ((True, HTTP), (False, TCP)):
        gone = Session(door.address, port, upgrade=upgrade)
        assert gone.colour() == "blue"
        gone.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        gone.close()  # with a reset
    for path in ("/slow", "/"):
        with socket.create_connection((door.address, HTTP)) as half:
            half.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            half.sendall(f"GET {path} HTTP/1.1\r\nHost: door\r\n\r\n".encode())
            time.sleep(0.1)
    until(lambda: door.runtime.sessions("lan-chat.web.blue") + door.runtime.sessions("lan-chat.relay.blue") == 0)
    assert door.runtime.errors("lan-chat").since(start).errors == 0


def test_trouble_with_servers_is_counted_by_colour(door: Door) -> None:
    """A service that takes requests and hangs up: it passes a check of its port, and still it is broken."""
    broken = own_address()
    with socket.create_server((broken, HTTP)) as server:
        threading.Thread(target=hang_up, args=(server,), daemon=True).start()
        green = two_colours("lan-chat", door.address, {"green": broken}).backends
        blue = tuple(back for back in door.config.backends if back.colour == "blue")
        door.runtime.apply(replace(door.config, backends=(*blue, *green)))
        start = {colour: door.runtime.errors("lan-chat", colour) for colour in COLOURS}
        door.runtime.set_colour("lan-chat", "green")
        assert answering(door)[0] == 502
        door.runtime.set_colour("lan-chat", "blue")
        assert answering(door)[0] == 200
        server.shutdown(socket.SHUT_RDWR)
    seen = {colour: door.runtime.errors("lan-chat", colour).since(start[colour]) for colour in COLOURS}
    assert (seen["blue"].response_errors, seen["green"].response_errors) == (0, 1)
    assert seen["blue"].responses_5xx == seen["green"].responses_5xx == 1, "what clients got has no colour"


def hang_up(server: socket.socket) -> None:
    """Reads what comes and closes, until the server is closed."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = server.accept()
            connection.settimeout(0.5)
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)


def test_a_dead_service_is_an_error(door: Door) -> None:
    dead = two_colours("lan-chat", door.address, {"green": own_address()})
    door.runtime.apply(dead)
    start = door.runtime.errors("lan-chat")
    door.runtime.set_colour("lan-chat", "green")
    assert answering(door)[0] == 503
    assert door.runtime.errors("lan-chat").since(start).responses_5xx == 1
