"""The sample product by itself: run by plain compose, chatted with, upgraded beside itself, drained."""

from __future__ import annotations

import http.client
import json
import re
import secrets
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import jinja2
import pytest
import websocket
import yaml

pytestmark = pytest.mark.e2e

RELEASES = ("2.0.0", "2.1.0", "2.1.1", "2.2.0")
OLD, NEW, FIXED, BROKEN = RELEASES


def run(*command: str | Path, cwd: Path | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=300)
    assert not check or done.returncode == 0, f"{command[:4]}: {done.stdout}{done.stderr}"
    return done


def eventually(condition: Callable[[], Any], seconds: float = 10) -> Any:
    """Wait until the condition is true and return what it gave; fail after some seconds."""
    end = time.monotonic() + seconds
    while True:
        got = condition()
        if got:
            return got
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.1)


class MailServer:
    """Takes mails on a port of its own and remembers them."""

    def __init__(self) -> None:
        self.mails: list[str] = []
        self._listener = socket.create_server(("0.0.0.0", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                conn, _ = self._listener.accept()
            except OSError:
                return
            with conn, conn.makefile("rwb") as stream:
                self._talk(stream)

    def _talk(self, stream: Any) -> None:
        def say(line: str) -> None:
            stream.write(line.encode() + b"\r\n")
            stream.flush()

        say("220 here")
        for raw in stream:
            verb = raw[:4].upper()
            if verb == b"DATA":
                say("354 go on")
                lines = iter(stream.readline, b".\r\n")
                self.mails.append(b"".join(lines).decode())
            say("221 bye" if verb == b"QUIT" else "250 fine")
            if verb == b"QUIT":
                return

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


@dataclass
class Product:
    """lan-chat as plain compose runs it, with one gateway of each release on one store."""

    project: str
    folder: Path
    password: str
    engine: docker.DockerClient
    mail: MailServer

    def compose(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run docker compose on this project."""
        return run("docker", "compose", "-p", self.project, *arguments, cwd=self.folder, check=check)

    def container(self, service: str) -> Any:
        """The container of a service, as it is now."""
        wanted = [f"com.docker.compose.project={self.project}", f"com.docker.compose.service={service}"]
        (found,) = self.engine.containers.list(all=True, filters={"label": wanted})
        return found

    def gateway(self, version: str) -> Gateway:
        """The gateway of a release."""
        service = "gateway" if version == OLD else f"gateway-{version.replace('.', '-')}"
        networks = self.container(service).attrs["NetworkSettings"]["Networks"]
        return Gateway(service, next(iter(networks.values()))["IPAddress"])


@dataclass
class Gateway:
    """One gateway, spoken to without anything between."""

    service: str
    address: str

    def call(self, path: str, body: Any = None, method: str | None = None) -> tuple[int, dict[str, str], Any]:
        """Ask over HTTP; returns code, headers, and the body parsed if it is JSON."""
        connection = http.client.HTTPConnection(self.address, 8080, timeout=10)
        content = None if body is None else json.dumps(body)
        connection.request(method or ("GET" if body is None else "POST"), path, content)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        headers = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, headers, json.loads(text) if "json" in headers.get("content-type", "") else text

    def web(self, name: str, room: str) -> WebPerson:
        """Come in over WebSocket."""
        return WebPerson(f"ws://{self.address}:8080/ws?name={name}&room={room}")

    def line(self, name: str, room: str) -> LinePerson:
        """Come in over the TCP relay."""
        person = LinePerson(self.address)
        person.send(f"NICK {name}")
        person.send(f"JOIN {room}")
        person.until(f"OK you are in #{room}")
        return person


class WebPerson:
    """Somebody on a WebSocket."""

    def __init__(self, url: str) -> None:
        self.socket = websocket.create_connection(url, timeout=40)
        self.hello = self.next()

    def next(self) -> dict[str, Any]:
        """The next frame."""
        frame: dict[str, Any] = json.loads(self.socket.recv())
        return frame

    def until(self, kind: str) -> dict[str, Any]:
        """The next frame of a kind."""
        while (frame := self.next())["type"] != kind:
            pass
        return frame

    def say(self, text: str) -> None:
        """Say something."""
        self.socket.send(json.dumps({"type": "say", "text": text}))

    def heard(self, count: int) -> list[str]:
        """The next messages, as name and text."""
        messages = [self.until("message")["message"] for _ in range(count)]
        return [f"{message['name']}: {message['text']}" for message in messages]


class LinePerson:
    """Somebody on the TCP relay."""

    def __init__(self, address: str) -> None:
        self.socket = socket.create_connection((address, 9000), timeout=40)
        self.stream = self.socket.makefile("r", encoding="utf-8", newline="\r\n")
        self.banner = self.next()

    def next(self) -> str:
        """The next line; empty at the end."""
        return self.stream.readline().rstrip("\r\n")

    def until(self, beginning: str) -> str:
        """The next line that begins so."""
        while not (line := self.next()).startswith(beginning):
            assert line, f"the relay ended before {beginning!r}"
        return line

    def send(self, line: str) -> None:
        """Send a line."""
        self.socket.sendall(f"{line}\r\n".encode())

    def heard(self, count: int, room: str) -> list[str]:
        """The next messages, as name and text."""
        found = []
        for _ in range(count):
            name, text = self.until(f"#{room} ").removeprefix(f"#{room} <").split("> ", 1)
            found.append(f"{name}: {text}")
        return found

    def close(self) -> None:
        """Hang up."""
        self.stream.close()
        self.socket.close()


@pytest.fixture(scope="session")
def releases(repository: Path) -> tuple[str, ...]:
    """All four releases, made."""
    for version in RELEASES:
        run(repository / "manifests/lan-chat/images/build", version)
    return RELEASES


def render(repository: Path, folder: Path, secret: Path, smtp: str) -> None:
    """Render the templates as a site does, for 2.0.0, and add a gateway of each later release."""
    loader = jinja2.FileSystemLoader(repository / "templates/lan-chat")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    site = {"product": "lan-chat", "version": OLD, "site": "office", "environment": "test", "cluster_id": "o1"}
    images = {name: f"lan-chat/{name}:{OLD}" for name in ("gateway", "directory")} | {"store": "lan-chat/store:15-1"}
    values = {"peers": ["10.9.9.9"], "values": {"smtp": {"host": smtp}}, "images": images, "secrets": {"db": secret}}
    for name in environment.list_templates():
        text = environment.get_template(name).render({**site, **values})
        (folder / name.removesuffix(".j2")).write_text(text)
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    del gateway["ports"]  # this machine's 8080 is not ours
    gateway["extra_hosts"] = ["mail.test:host-gateway"]
    for version in RELEASES[1:]:
        compose["services"][f"gateway-{version.replace('.', '-')}"] = gateway | {"image": f"lan-chat/gateway:{version}"}
    (folder / "compose.yaml").write_text(yaml.safe_dump(compose))


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
    render(repository, folder, secret, f"mail.test:{mail.port}")
    made = Product(f"lan-chat-{secrets.token_hex(5)}", folder, password, engine, mail)
    try:
        made.compose("up", "--detach", "--wait", "--quiet-pull")
        yield made
    finally:
        made.compose("down", "--volumes", "--timeout", "1", check=False)
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
    assert run(client, "--version").stdout == f"chatctl {version}\n"
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
    last = json.loads(product.container(broken.service).logs(tail=1))
    assert last["level"] == "error" and "schema_history" in last["error"]


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


SAMPLE = re.compile(r'([a-z_]+)(\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? (\S+)')


@dataclass
class Metrics:
    """What one page of Prometheus text says; making one fails where the text breaks the format."""

    text: str
    types: dict[str, str] = field(default_factory=dict)
    samples: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert self.text.endswith("\n")
        for line in self.text.splitlines():
            if line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types and kind in {"counter", "gauge", "histogram"}
                self.types[name] = kind
            elif not line.startswith("# HELP "):
                self._sample(line)

    def _sample(self, line: str) -> None:
        match = SAMPLE.fullmatch(line)
        assert match, line
        family = re.sub("_(bucket|sum|count)$", "", match[1])
        assert match[1] in self.types or self.types.get(family) == "histogram", line
        assert match[1] + (match[2] or "") not in self.samples, line
        self.samples[match[1] + (match[2] or "")] = float(match[3])


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


def test_gives_the_store_the_password_that_it_starts_with(
    releases: tuple[str, ...], tmp_path: Path, unique_name: Callable[[str], str], engine: docker.DockerClient
) -> None:
    secret, name = tmp_path / "db", unique_name("lan-chat-store")
    mounts = {str(secret): {"bind": "/run/secrets/db", "mode": "ro"}, name: {"bind": "/var/lib/postgresql/data"}}

    def enter(store: Any, password: str) -> int:
        query = ["psql", "-h", "127.0.0.1", "-U", "lanchat", "-w", "-tAc", "select 1", "lanchat"]
        code: int = store.exec_run(query, environment={"PGPASSWORD": password}).exit_code
        return code

    try:
        for password, other in (("first", "second"), ("second", "first")):
            secret.write_text(password)
            store = engine.containers.run("lan-chat/store:15-1", detach=True, name=name, volumes=mounts)
            try:
                end = time.monotonic() + 30
                while enter(store, password) != 0:
                    assert time.monotonic() < end, store.logs().decode()
                    time.sleep(0.2)
                assert enter(store, other) == 2
            finally:
                store.remove(force=True)
    finally:
        engine.volumes.get(name).remove()


def test_keeps_sessions_on_sigterm_and_takes_nothing_new(product: Product) -> None:
    """Also: a session that does not end is told good-bye after 25 s, and the exit code is 0."""
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
    assert 24 < time.monotonic() - begun < 28
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
    begun = time.monotonic()
    assert container.wait(timeout=10)["StatusCode"] == 0
    assert time.monotonic() - begun < 3


def test_shares_layers_and_keeps_the_store_small(releases: tuple[str, ...], engine: docker.DockerClient) -> None:
    names = [f"lan-chat/{name}:{version}" for name in ("gateway", "directory") for version in releases]
    layers = [engine.images.get(name).attrs["RootFS"]["Layers"] for name in [*names, "lan-chat/store:15-1"]]
    assert len({layer[0] for layer in layers}) == 1
    assert engine.images.get("lan-chat/store:15-1").attrs["Size"] < 120_000_000


def test_makes_nothing_again_when_nothing_changed(releases: tuple[str, ...], repository: Path) -> None:
    begun = time.monotonic()
    done = run(repository / "manifests/lan-chat/images/build", OLD)
    assert f"lan-chat {OLD}: nothing to do" in done.stderr
    assert time.monotonic() - begun < 5


def test_puts_what_the_manifest_names_where_it_says(releases: tuple[str, ...], repository: Path) -> None:
    folder = repository / "manifests/lan-chat"
    manifest = yaml.safe_load((folder / "release.yaml").read_text())
    for entry in [*manifest["images"].values(), *manifest["edge"].values()]:
        kind, _, where = entry["from"].partition(":")
        assert kind == "docker-daemon" or (folder / where / "oci-layout").exists(), where
    for version in releases:
        assert (folder / f"dist/{version}/linux-amd64/chatctl").stat().st_mode & 0o111
        assert f"## [{version}] - " in (folder / manifest["changelog"]).read_text()
    assert all((folder / tool["path"]).exists() for tool in manifest["tools"])
    assert all((folder / path).exists() for path in [*manifest["docs"], *manifest["templates"]])


def test_refuses_what_is_not_a_version(repository: Path) -> None:
    done = run(repository / "manifests/lan-chat/images/build", "latest", check=False)
    assert done.returncode == 2 and "is not a version" in done.stderr
