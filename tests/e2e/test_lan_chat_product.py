"""The sample product by itself: run by plain compose, chatted with, upgraded beside itself, drained."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import docker
import pytest
import websocket

from tests.e2e.lan_chat import (
    BROKEN,
    FIXED,
    NEW,
    OLD,
    LinePerson,
    MailServer,
    Metrics,
    Product,
    WebPerson,
    eventually,
    make_releases,
    render,
    run,
)

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def releases(repository: Path) -> tuple[str, ...]:
    """All four releases, made."""
    return make_releases(repository)


@pytest.fixture(scope="module")
def product(
    releases: tuple[str, ...], repository: Path, engine: docker.DockerClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Product]:
    """The product, running and healthy; gone afterwards."""
    folder = tmp_path_factory.mktemp("lan-chat")
    password = secrets.token_hex(16) + "'\\ %"  # a password may hold anything
    secret = folder / "db-password"
    secret.write_text(password + "\n")
    secret.chmod(0o444)
    mail = MailServer()
    name = f"lan-chat-{secrets.token_hex(5)}"
    network = engine.networks.create(name)
    network.reload()
    this_host = network.attrs["IPAM"]["Config"][0]["Gateway"]
    made = Product(name, folder, password, engine, mail)
    try:
        render(repository, folder, secret, name, f"{this_host}:{mail.port}")
        made.compose("up", "--detach", "--wait", "--quiet-pull")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "1", check=False)
        network.remove()
        mail.close()


def test_lets_people_on_two_releases_and_two_protocols_see_each_other(product: Product) -> None:
    old, new = product.gateway(OLD), product.gateway(NEW)
    room = "bridge"
    anna, carl = old.web("anna", room), old.line("carl", room)
    bert, dora = new.web("bert", room), new.line("dora", room)
    anna.say("from the old page")
    said = ["anna: from the old page"]
    assert anna.heard(1) == bert.heard(1) == carl.heard(1, room) == dora.heard(1, room) == said
    dora.send("from the new relay")
    status, _, _ = new.call(f"/api/rooms/{room}/messages", {"name": "eva", "text": "posted\nin two lines"})
    assert status == 201
    bert.say("grüße 🙂")
    said = ["dora: from the new relay", "eva: posted\nin two lines", "bert: grüße 🙂"]
    assert sorted(anna.heard(3)) == sorted(bert.heard(3)) == sorted(said)
    lines = ["dora: from the new relay", "eva: posted", "eva: in two lines", "bert: grüße 🙂"]
    assert sorted(carl.heard(4, room)) == sorted(dora.heard(4, room)) == sorted(lines)
    _, _, history = old.call(f"/api/rooms/{room}/messages")
    assert len(history["messages"]) == 4
    late = new.web("late", room)
    assert len(late.until("history")["messages"]) == 4


def test_knows_who_is_connected_to_any_gateway(product: Product) -> None:
    people = [product.gateway(OLD).web("paula", "who"), product.gateway(NEW).line("quentin", "who")]

    def here() -> set[str]:
        _, _, answer = product.gateway(FIXED).call("/api/people")
        return {f"{person['name']} {person['via']} {person['gateway_version']}" for person in answer["people"]}

    eventually(lambda: {f"paula websocket {OLD}", f"quentin tcp {NEW}"} <= here())
    assert isinstance(people[0], WebPerson)
    people[0].socket.close()
    eventually(lambda: not any(person.startswith("paula ") for person in here()))


@pytest.mark.parametrize("version", [OLD, NEW])
def test_names_its_version_in_every_answer(product: Product, repository: Path, version: str) -> None:
    gateway = product.gateway(version)
    for path in ("/api/ping", "/api/people", "/api/rooms", "/api/rooms/lobby/messages", "/healthz", "/nothing"):
        _, headers, body = gateway.call(path)
        assert (headers["x-lan-chat-version"], body["version"]) == (version, version), path
    _, _, ping = gateway.call("/api/ping")
    assert (ping["cluster_id"], ping["peers"], ping["site"]) == ("o1", ["10.9.9.9"], "office")
    assert gateway.web("vera", "lobby").hello["version"] == version
    line = gateway.line("viktor", "lobby")
    assert line.banner.split()[:2] == ["LAN-CHAT", version]
    line.send("PING")
    assert line.until("PONG") == f"PONG {version}"
    client = repository / f"manifests/lan-chat/dist/{version}/linux-amd64/chatctl"
    assert run(client, "--version").stdout == "chatctl 2.0\n", "the client's version is its own"
    answer = run(client, "ping", "--json", "--server", f"http://{gateway.address}:8080")
    assert json.loads(answer.stdout)["version"] == version


def test_shows_the_features_of_2_1_0_only_from_2_1_0_on(product: Product) -> None:
    old, new = product.gateway(OLD), product.gateway(NEW)
    old.call("/api/rooms/archive/messages", {"name": "sam", "text": "The Zeppelin lands at noon"})
    assert [m["text"] for m in new.call("/api/search?q=zepp")[2]["messages"]] == ["The Zeppelin lands at noon"]
    assert new.call("/api/search?q=submarine")[2]["messages"] == []
    assert old.call("/api/search?q=zepp")[0] == 404
    assert (old.call("/api/ping")[2]["features"], new.call("/api/ping")[2]["features"]) == ([], ["mentions", "search"])


def test_mails_who_is_mentioned_and_away(product: Product) -> None:
    new = product.gateway(NEW)
    assert new.call("/api/people/walter/mail", {"mail": "not an address"}, "PUT")[0] == 400
    assert new.call("/api/people/walter/mail", {"mail": "walter@office.test"}, "PUT")[0] == 200
    new.call("/api/rooms/lobby/messages", {"name": "sam", "text": "@walter, @nobody: tea?"})
    (mail,) = eventually(lambda: product.mail.mails)
    assert "To: <walter@office.test>\r\n" in mail and mail.endswith("@walter, @nobody: tea?\r\n")
    assert new.call("/api/people/walter/mail", method="DELETE")[0] == 200
    product.gateway(OLD).call("/api/people/walter/mail", {"mail": "walter@office.test"}, "PUT")
    new.call("/api/rooms/lobby/messages", {"name": "sam", "text": "@walter again"})
    time.sleep(1)
    assert len(product.mail.mails) == 1


def test_counts_characters_and_not_bytes_since_2_1_1(product: Product) -> None:
    umlauts = {"name": "sam", "text": "ü" * 1500}
    assert product.gateway(NEW).call("/api/rooms/lobby/messages", umlauts)[0] == 400
    assert product.gateway(FIXED).call("/api/rooms/lobby/messages", umlauts)[0] == 201
    assert product.gateway(FIXED).call("/api/rooms/lobby/messages", {"name": "sam", "text": "ü" * 2001})[0] == 400


def test_turns_healthy_in_2_2_0_and_fails_its_ping(product: Product) -> None:
    broken = product.gateway(BROKEN)
    assert product.container(broken.service).attrs["State"]["Health"]["Status"] == "healthy"
    assert (broken.call("/healthz")[0], broken.call("/api/people")[0]) == (200, 200)
    status, headers, _ = broken.call("/api/ping")
    assert (status, headers["x-lan-chat-version"]) == (500, BROKEN)
    last = map(
        json.loads, product.container(broken.service).logs(tail=3).splitlines()
    )  # it is asked for its health too
    assert any(line["level"] == "error" and "schema_history" in line["error"] for line in last)


@pytest.mark.parametrize("body", [{"name": "a b", "text": "x"}, {"name": "", "text": "x"}, {"name": "a", "text": " "}])
def test_refuses_what_is_not_a_message(product: Product, body: dict[str, str]) -> None:
    status, _, answer = product.gateway(OLD).call("/api/rooms/lobby/messages", body)
    assert status == 400 and answer["error"]


def test_refuses_rooms_and_methods_that_do_not_exist(product: Product) -> None:
    gateway = product.gateway(OLD)
    assert gateway.call("/api/rooms/No%20Room/messages")[0] == 404
    assert gateway.call("/api/ping", method="DELETE")[0] == 405
    with pytest.raises(websocket.WebSocketBadStatusException, match="400"):
        gateway.web("two%20names", "lobby")
    line = LinePerson(gateway.address)
    line.send("hello?")
    assert line.until("ERR").startswith("ERR who are you?")


@pytest.mark.parametrize("service", ["gateway", "directory"])
def test_writes_metrics_that_prometheus_can_read(product: Product, service: str) -> None:
    networks = product.container(service).attrs["NetworkSettings"]["Networks"]
    port = 8080 if service == "gateway" else 8081
    address = f"http://{next(iter(networks.values()))['IPAddress']}:{port}/metrics"
    with urllib.request.urlopen(address) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        metrics = Metrics(answer.read().decode())
    assert metrics.samples["lan_chat_ready"] == 1
    assert any(name.startswith("lan_chat_build_info{") and f'version="{OLD}"' in name for name in metrics.samples)
    buckets = [value for name, value in metrics.samples.items() if "_seconds_bucket" in name]
    assert buckets == sorted(buckets) and buckets[-1] == metrics.samples["lan_chat_http_request_seconds_count"] > 0


def test_counts_requests_messages_and_sessions(product: Product) -> None:
    gateway = product.gateway(FIXED)
    ping = 'lan_chat_http_requests_total{method="GET",route="/api/ping",code="200"}'
    before = Metrics(gateway.call("/metrics")[2]).samples
    web, line = gateway.web("mia", "meters"), gateway.line("max", "meters")
    gateway.call("/api/ping")
    web.say("one")
    line.heard(1, "meters")
    after = Metrics(gateway.call("/metrics")[2]).samples
    assert after[ping] == before.get(ping, 0) + 1
    for name, more in (("websockets_open", 1), ("tcp_sessions_open", 1), ('messages_total{via="websocket"}', 1)):
        assert after[f"lan_chat_{name}"] == before[f"lan_chat_{name}"] + more
    web.socket.close()
    line.close()
    eventually(lambda: Metrics(gateway.call("/metrics")[2]).samples["lan_chat_tcp_sessions_open"] == 0)


def test_logs_one_json_object_per_line(product: Product) -> None:
    for service, version in (("gateway", OLD), ("gateway-2-1-0", NEW), ("directory", OLD)):
        lines = [json.loads(line) for line in product.container(service).logs().splitlines()]
        assert lines and all({"time", "level", "service", "version", "msg"} <= set(line) for line in lines)
        assert {line["version"] for line in lines} == {version}


def test_keeps_the_password_out_of_sight(product: Product) -> None:
    seen = product.compose("config").stdout
    label = f"com.docker.compose.project={product.project}"
    containers: list[Any] = product.engine.containers.list(filters={"label": label})
    for container in containers:
        seen += run("docker", "inspect", container.id).stdout
        seen += run("docker", "history", "--no-trunc", container.image.id).stdout
        seen += container.logs().decode()
        seen += run("docker", "top", container.id, "-o", "pid,args").stdout
    assert product.project in seen
    assert product.password[:32] not in seen  # what follows may be written with escapes


def test_lets_nobody_into_the_store_without_the_password(product: Product) -> None:
    store = product.container("store")
    query = ["psql", "-h", "127.0.0.1", "-U", "lanchat", "-w", "-tAc", "select 1", "lanchat"]
    assert store.exec_run(query, environment={"PGPASSWORD": "wrong"}).exit_code == 2
    code, output = store.exec_run(query, environment={"PGPASSWORD": product.password})
    assert (code, output) == (0, b"1\n")
    superuser = ["psql", "-h", "127.0.0.1", "-U", "postgres", "-w", "-c", "select 1"]
    assert store.exec_run(superuser, environment={"PGPASSWORD": product.password}).exit_code == 2


def test_runs_without_root_on_a_filesystem_that_it_cannot_write(product: Product) -> None:
    for service, uid in (("gateway", "10001"), ("directory", "10001"), ("store", "10005")):
        container = product.container(service)
        assert container.attrs["HostConfig"]["ReadonlyRootfs"] and container.attrs["HostConfig"]["CapDrop"] == ["ALL"]
        processes = container.top(ps_args="-o pid,uid")["Processes"]
        assert {user for _, user in processes} == {uid}


def test_serves_a_page_that_needs_nothing_from_elsewhere(product: Product) -> None:
    status, headers, page = product.gateway(NEW).call("/")
    assert status == 200 and f'data-version="{NEW}"' in page
    assert "default-src 'none'" in headers["content-security-policy"]
    assert re.findall(r"""(?:src|href)=["'](?!data:)[^"']*""", page) == []
    assert "/*style*/" not in page and "/*script*/" not in page and len(page) < 60_000


def test_does_not_flap_on_slow_answers_but_notices_what_is_gone(product: Product) -> None:
    gateway, directory = product.gateway(OLD), product.container("directory")
    directory.pause()
    try:
        for _ in range(8):
            time.sleep(0.5)
            assert gateway.call("/healthz")[0] == 200
    finally:
        directory.unpause()
    directory.stop(timeout=5)
    try:
        eventually(lambda: gateway.call("/healthz")[0] == 503, 25)
        assert list(gateway.call("/healthz")[2]["failing"]) == ["directory"]
        assert gateway.call("/api/people")[0] == 502
        assert gateway.call("/api/ping")[0] == 200
    finally:
        directory.start()
    eventually(lambda: gateway.call("/healthz")[0] == 200, 15)


def test_carries_on_when_the_store_restarts(product: Product) -> None:
    gateway = product.gateway(OLD)
    web = gateway.web("rosa", "restart")
    product.container("store").restart(timeout=20)
    message = {"name": "sam", "text": "still here?"}
    eventually(lambda: gateway.call("/api/rooms/restart/messages", message)[0] == 201, 20)
    assert web.heard(1) == ["sam: still here?"]
    eventually(lambda: gateway.call("/healthz")[0] == 200, 15)


def test_keeps_sessions_on_sigterm_and_takes_nothing_new(product: Product) -> None:
    """Also: a session that does not end is told good-bye after 12 s, as the site wants it, and the exit code is 0."""
    gateway, container = product.gateway(FIXED), product.container(product.gateway(FIXED).service)
    web, line = gateway.web("tom", "drain"), gateway.line("tina", "drain")
    kept = http.client.HTTPConnection(gateway.address, 8080, timeout=5)
    kept.request("GET", "/api/ping")
    assert kept.getresponse().read()
    begun = time.monotonic()
    container.kill("SIGTERM")
    assert web.until("draining") and line.until("NOTICE")
    kept.request("GET", "/healthz")
    answer = kept.getresponse()
    assert (answer.status, answer.headers["Connection"], json.load(answer)["status"]) == (503, "close", "draining")
    for port in (8080, 9000):
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((gateway.address, port), timeout=5)
    web.say("still talking")
    assert web.heard(1) == line.heard(1, "drain") == ["tom: still talking"]
    assert line.until("BYE") == "BYE"
    assert time.monotonic() - begun > 11
    opcode, content = web.socket.recv_data()
    assert (opcode, content[:2]) == (websocket.ABNF.OPCODE_CLOSE, (1001).to_bytes(2, "big"))
    assert container.wait(timeout=10)["StatusCode"] == 0


def test_ends_soon_after_the_last_session(product: Product) -> None:
    gateway, container = product.gateway(NEW), product.container(product.gateway(NEW).service)
    line = gateway.line("tina", "drain")
    container.kill("SIGTERM")
    line.until("NOTICE")
    time.sleep(1.5)
    container.reload()
    assert container.status == "running"
    line.close()
    assert container.wait(timeout=10)["StatusCode"] == 0  # the drain time of this container is 12 s
