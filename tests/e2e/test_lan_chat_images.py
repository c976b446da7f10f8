"""The images of the sample product: layers, reproducible, made once."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docker
import pytest
import yaml

from tests.e2e.lan_chat import OLD, make_releases, run

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def releases(repository: Path) -> tuple[str, ...]:
    """All four releases, made."""
    return make_releases(repository)


def test_shares_layers_and_keeps_the_store_small(releases: tuple[str, ...], engine: docker.DockerClient) -> None:
    names = [f"lan-chat/{name}:{version}" for name in ("gateway", "directory") for version in releases]
    layers = [engine.images.get(name).attrs["RootFS"]["Layers"] for name in [*names, "lan-chat/store:15-1"]]
    assert len({layer[0] for layer in layers}) == 1
    assert engine.images.get("lan-chat/store:15-1").attrs["Size"] < 120_000_000


def test_makes_the_same_image_from_the_same_packages(
    releases: tuple[str, ...],
    repository: Path,
    engine: docker.DockerClient,
    unique_name: Callable[[str], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = repository / "manifests/lan-chat/images"
    monkeypatch.syspath_prepend(folder)
    recipe = importlib.import_module("build")
    wanted: list[tuple[str, str, str, dict[str, str]]] = [
        ("base:12-1", "base", recipe.base_inputs(), {}),
        ("store:15-1", "store", recipe.store_inputs(), {"store-init": "15-1"}),
        (f"gateway:{OLD}", "gateway", recipe.service_inputs("gateway", OLD), {"gateway": OLD}),
    ]
    for name, kind, inputs, programs in wanted:
        again = unique_name("lan-chat-again")
        recipe.make_image(again, folder / kind, inputs, programs, "--no-cache")
        same = engine.images.get(again).id == engine.images.get(f"lan-chat/{name}").id
        engine.images.remove(again)
        assert same, name


def test_makes_nothing_again_when_nothing_changed(releases: tuple[str, ...], repository: Path) -> None:
    done = run(repository / "manifests/lan-chat/images/build", OLD)
    assert f"lan-chat {OLD}: nothing to do" in done.stderr


def test_puts_what_the_manifest_names_where_it_says(releases: tuple[str, ...], repository: Path) -> None:
    folder = repository / "manifests/lan-chat"
    manifest = yaml.safe_load((folder / "release.yaml").read_text())
    for entry in [*manifest["images"].values(), *manifest["edge"].values()]:
        kind, _, where = entry["from"].partition(":")
        assert kind == "docker-daemon" or (folder / where / "oci-layout").exists(), where
    clients = [folder / f"dist/{version}/linux-amd64/chatctl" for version in releases]
    assert len({client.read_bytes() for client in clients}) == 1, "a hotfix would bring the client again"
    assert all(client.stat().st_mode & 0o111 for client in clients)
    for version in releases:
        assert f"## [{version}] - " in (folder / manifest["changelog"]).read_text()
    assert all((folder / tool["path"]).exists() for tool in manifest["tools"])
    assert all((folder / path).exists() for path in [*manifest["docs"], *manifest["templates"]])


def test_refuses_what_is_not_a_version(repository: Path) -> None:
    done = run(repository / "manifests/lan-chat/images/build", "latest", check=False)
    assert done.returncode == 2 and "is not a version" in done.stderr


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
            store = engine.containers.create("lan-chat/store:15-1", name=name, volumes=mounts, network_mode="none")
            try:
                store.start()
                end = time.monotonic() + 30
                while enter(store, password) != 0:
                    assert time.monotonic() < end, store.logs().decode()
                    time.sleep(0.2)
                assert enter(store, other) == 2
            finally:
                store.remove(force=True)
    finally:
        engine.volumes.get(name).remove()
