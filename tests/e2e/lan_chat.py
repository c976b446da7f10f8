"""lan-chat as tests use it: made, run by plain compose, spoken to by people on every protocol."""

from __future__ import annotations

import http.client
import json
import re
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import jinja2
import websocket
import yaml

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


def make_releases(repository: Path) -> tuple[str, ...]:
    """Make all four releases; returns their versions."""
    for version in RELEASES:
        run(repository / "manifests/lan-chat/images/build", version)
    return RELEASES


def render(repository: Path, folder: Path, secret: Path, network: str, smtp: str) -> None:
    """Render the templates as a site does, for 2.0.0, and add a gateway of each later release, all on one network."""
    loader = jinja2.FileSystemLoader(repository / "templates/lan-chat")
    environment = jinja2.Environment(loader=loader, undefined=jinja2.StrictUndefined, autoescape=False)  # noqa: S701
    site = {"product": "lan-chat", "version": OLD, "site": "office", "environment": "test", "cluster_id": "o1"}
    images = {name: f"lan-chat/{name}:{OLD}" for name in ("gateway", "directory")} | {"store": "lan-chat/store:15-1"}
    inputs = {"smtp": {"host": smtp}, "session_seconds": 12}
    values = {"peers": ["10.9.9.9"], "values": inputs, "images": images, "secrets": {"db": secret}}
    for name in environment.list_templates():
        text = environment.get_template(name).render({**site, **values})
        (folder / name.removesuffix(".j2")).write_text(text)
    compose = yaml.safe_load((folder / "compose.yaml").read_text())
    gateway = compose["services"]["gateway"]
    del gateway["ports"]  # this machine's 8080 is not ours
    compose["networks"] = {"default": {"name": network, "external": True}}
    for version in RELEASES[1:]:
        compose["services"][f"gateway-{version.replace('.', '-')}"] = gateway | {"image": f"lan-chat/gateway:{version}"}
    (folder / "compose.yaml").write_text(yaml.safe_dump(compose))


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
