"""Other people on the host: what they may not see, change, or pass themselves off as. Each tries it as another user."""

from __future__ import annotations

import base64
import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import docker
import pytest

from installer.registry.settings import derived
from tests.e2e.site.conftest import SECOND, sites
from tests.e2e.site.host import Site
from tests.e2e.site.people import LISTEN, NOBODY, READ_PROCESSES, TRY_EVERYTHING, as_nobody, squatter
from tests.e2e.site.vendor import REPOSITORY, Edition, Vendor

pytestmark = pytest.mark.e2e

SALT = "salt-that-only-the-kitchen-knows"
COMPOSE = """\
services:
  board:
    image: "{{ images.board }}"
    stop_grace_period: 0s
    secrets: [kitchen]
secrets:
  kitchen: {file: "{{ secrets.kitchen }}"}
"""


@dataclass(frozen=True)
class House:
    """A site whose folder everybody can enter, installed by somebody with umask 000; ``calls`` are its children."""

    site: Site
    calls: str

    @property
    def password(self) -> str:
        return (self.site.state / "registry/password").read_text().strip()

    @property
    def secrets(self) -> list[str]:
        """All that nobody else may know."""
        login = f"sealift:{self.password}"
        more = [derived(self.password, purpose) for purpose in ("mark", "uploads")]
        return [SALT, self.password, base64.b64encode(login.encode()).decode(), *more]

    def paths(self) -> list[str]:
        return [str(self.site.state), *(str(path) for path in sorted(self.site.state.rglob("*")))]


@contextmanager
def mask(value: int) -> Iterator[None]:
    before = os.umask(value)
    yield
    os.umask(before)


@pytest.fixture(scope="module")
def house(engine: docker.DockerClient, vendor: Vendor) -> Iterator[House]:
    numbers = itertools.count()
    with (
        tempfile.TemporaryDirectory(prefix="sealift-house-") as name,
        sites(engine, lambda: Path(name) / f"site-{next(numbers)}") as make,
    ):
        Path(name).chmod(0o755)
        site = make()
        site.state.rmdir()
        site.state = site.folder / "srv/state"
        (site.folder / "kitchen").write_text(SALT)
        (site.folder / "kitchen").chmod(0o600)
        site.configure(secrets={"kitchen": {"file": str(site.folder / "kitchen")}})
        with mask(0):
            site.trust(vendor)
            calls = traced(site, "install", str(vendor.kit(Edition("1.0.0", edge=True, compose=COMPOSE))))
        yield House(site, calls)


def traced(site: Site, *words: str) -> str:
    """Install, and return arguments and environment of every process that was started."""
    log = site.folder / "calls"
    trace = ["strace", "-f", "--seccomp-bpf", "-qq", "-v", "-s", "65536", "-e", "trace=execve,execveat", "-o", str(log)]
    command = [*trace, sys.executable, "-m", "installer", "--json", *words]
    done = subprocess.run(command, cwd=site.folder, env=site.environment(), capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    calls = log.read_text()
    log.unlink()
    return calls


# What they see


def test_no_process_is_told_a_secret(house: House) -> None:
    assert house.calls.count("execve(") > 10 and '"docker"' in house.calls
    assert [secret for secret in house.secrets if secret in house.calls] == []


def test_others_read_no_secret_from_processes_and_containers(house: House) -> None:
    seen = "\n".join(as_nobody(READ_PROCESSES))
    assert "/sbin/haproxy" in seen or "haproxy" in seen  # they do see that it runs
    api: Any = house.site.engine.api
    for item in house.site.containers():
        seen += json.dumps(api.inspect_container(item["Id"])) + json.dumps(api.inspect_image(item["ImageID"]))
        seen += api.logs(item["Id"]).decode(errors="replace")
    assert [secret for secret in house.secrets if secret in seen] == []


def test_passphrase_in_the_environment_of_who_signs_is_nobody_elses_to_read(vendor: Vendor) -> None:
    word = "a-word-that-only-the-signer-knows"
    words = [sys.executable, "-m", "bundler", "sign", str(vendor.kit(SECOND)), "--key", "keys/stranger.key"]
    mine = os.environ | {"PYTHONPATH": str(REPOSITORY), "SEALIFT_PASSPHRASE": word}
    with subprocess.Popen(
        words, cwd=vendor.root, env=mine, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as one:
        one.send_signal(signal.SIGSTOP)
        seen = as_nobody(READ_PROCESSES)
        own = Path(f"/proc/{one.pid}/environ").read_text()
        one.kill()
    assert word in own, "whoever is the same user, or root, can"
    assert any("keys/stranger.key" in line for line in seen) and not any(word in line for line in seen)


def test_a_secret_of_the_site_stands_in_one_file_and_in_no_release(house: House) -> None:
    holding = [path for path in map(Path, house.paths()) if path.is_file() and SALT.encode() in path.read_bytes()]
    assert holding == [house.site.state / "secrets/board/kitchen"]


def test_others_can_open_nothing_of_the_state_dir(house: House) -> None:
    paths = house.paths()
    assert len(paths) > 40
    assert as_nobody(TRY_EVERYTHING, paths) == []
    for path in (house.site.state, house.site.state.parent):
        assert path.stat().st_uid == 0
    assert stat.S_IMODE(house.site.state.stat().st_mode) == 0o700


def test_a_state_dir_that_an_administrator_opened_keeps_its_secrets(house: House) -> None:
    opened = (house.site.state.parent, house.site.state)
    for path in opened:
        path.chmod(0o755)
    try:
        assert as_nobody(TRY_EVERYTHING, house.paths()) == [f"read {house.site.state}"]  # the names in it
    finally:
        for path in opened:
            path.chmod(0o700)


def test_nothing_that_was_made_with_umask_000_is_for_others_to_write(house: House) -> None:
    made = [*map(Path, house.paths()), house.site.state.parent]
    links = [path for path in made if not path.is_symlink() and path.lstat().st_mode & 0o022]
    assert links == []


# The registry


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/_catalog"),
        ("GET", "/v2/board/board/tags/list"),
        ("POST", "/v2/board/board/blobs/uploads/"),
        ("PUT", "/v2/board/board/manifests/1.0.0"),
        ("DELETE", "/v2/board/board/manifests/sha256:" + "0" * 64),
    ],
)
def test_the_registry_gives_and_takes_nothing_without_the_password(house: House, method: str, path: str) -> None:
    assert ask(house, method, path) == 401
    assert ask(house, method, path, "guessed") == 401


def test_the_registry_deletes_nothing_for_those_who_have_the_password_either(house: House) -> None:
    digest = next((house.site.state / "registry/data").rglob("_manifests/revisions/sha256/*")).name
    path = f"/v2/board/board/manifests/sha256:{digest}"
    assert ask(house, "GET", "/v2/_catalog", house.password) == 200
    assert ask(house, "DELETE", path, house.password) == 405


def ask(house: House, method: str, path: str, password: str | None = None) -> int:
    request = urllib.request.Request(f"http://{house.site.registry}{path}", method=method)
    if password is not None:
        request.add_header("Authorization", "Basic " + base64.b64encode(f"sealift:{password}".encode()).decode())
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


# Standing in for us


def test_nobody_can_listen_beside_front_door_preview_and_registry(house: House) -> None:
    assert as_nobody(LISTEN, [house.site.ports[0], house.site.ports[1], house.site.ports[2]]) == []


def test_an_answer_of_somebody_else_is_never_taken_for_ours(house: House, vendor: Vendor) -> None:
    """The front door is down, and somebody quick has its ports: he says that all is well."""
    site = house.site
    site.engine.api.stop(site.names.edge, timeout=1)
    try:
        with squatter(site.ports[0], site.ports[2]), site.nothing_changes(but=("door",)):
            answer = site.install(vendor.kit(SECOND))
            assert answer.value["error"]["code"] in (7, 9, 10), answer.value
            assert "result" not in answer.value or answer.value["result"] == "rolled-back"
    finally:
        site.engine.api.start(site.names.edge)
    assert site.done("status")["products"][0]["version"] == "1.0.0"


def test_takes_no_part_of_an_environment_that_somebody_else_can_change(house: House, vendor: Vendor) -> None:
    """What `sudo -E` may leave: programs, plugins, proxies, an engine of somebody else's."""
    site, trap = house.site, house.site.folder / "trap"
    plant(trap)
    port = site.ports[-1]
    proxies = dict.fromkeys(
        ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"), f"http://127.0.0.1:{port}"
    )
    hostile = {
        "PATH": f"{trap}/bin:.:{os.environ['PATH']}",
        "HOME": str(trap),
        "DOCKER_CONFIG": str(trap / ".docker"),
        "DOCKER_HOST": f"tcp://127.0.0.1:{port}",
        "DOCKER_CONTEXT": "somebody",
        "COMPOSE_FILE": str(trap / "compose.yaml"),
        "COMPOSE_PROJECT_NAME": "theirs",
        "TMPDIR": str(trap / "tmp"),
    }
    with squatter(port) as asked:
        environment = site.environment() | proxies | hostile
        command = [sys.executable, "-m", "installer", "--json", "install", str(vendor.kit(SECOND))]
        done = subprocess.run(command, cwd=trap, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["result"] == "installed"
    assert asked == []
    assert not (trap / "sprung").exists()
    assert list((trap / "tmp").iterdir()) == []


def plant(trap: Path) -> None:
    """Programs that leave a mark, in folders of somebody else's."""
    for place in ("bin/docker", "bin/docker-compose", ".docker/cli-plugins/docker-compose"):
        path = trap / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\ntouch {trap}/sprung\nexit 0\n")
        path.chmod(0o755)
    (trap / "tmp").mkdir()
    (trap / ".docker/config.json").write_text('{"credsStore": "theirs"}')
    for path in (trap, *trap.rglob("*")):
        os.chown(path, NOBODY, NOBODY)


# Games with names, before anything is there


@pytest.mark.parametrize("game", ["his folder", "his link", "open parent", "open folder"])
def test_refuses_a_state_dir_that_somebody_else_could_change(site: Site, vendor: Vendor, game: str) -> None:
    public = site.folder / "public"
    public.mkdir()
    public.chmod(0o777 if game == "open parent" else 0o1777)
    state = public / "state"
    if game == "his link":
        (public / "elsewhere").mkdir(mode=0o700)
        state.symlink_to(public / "elsewhere")
        os.chown(state, NOBODY, NOBODY, follow_symlinks=False)
    elif game != "open parent":
        state.mkdir()
        state.chmod(0o755 if game == "his folder" else 0o777)
        os.chown(state, *((NOBODY, NOBODY) if game == "his folder" else (0, 0)))
    root, fingerprint = vendor.trust("ours")
    words = ("--state-dir", str(state))
    site.sealift("trust", "init", str(root), "--fingerprint", fingerprint, *words).refused(7, "path-unsafe")
    site.sealift("install", str(vendor.kit(SECOND)), *words).refused(7, "path-unsafe")
    assert not state.exists() or list(state.iterdir()) == []


def test_refuses_a_site_file_that_somebody_else_could_change(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    with site.nothing_changes():
        site.site_file.chmod(0o666)
        assert "chmod go-w" in site.install(vendor.kit(SECOND)).refused(7, "path-unsafe")
        site.site_file.chmod(0o644)
        os.chown(site.site_file, NOBODY, NOBODY)
        assert str(NOBODY) in site.install(vendor.kit(SECOND)).refused(7, "path-unsafe")
    os.chown(site.site_file, 0, 0)


def test_follows_no_link_that_was_planted_as_lock(site: Site, vendor: Vendor) -> None:
    site.trust(vendor)
    precious = site.folder / "precious"
    precious.write_text("mine")
    (site.state / "lock").symlink_to(precious)
    site.install(vendor.kit(SECOND)).refused(7, "state-dir-unusable")
    assert precious.read_text() == "mine"
