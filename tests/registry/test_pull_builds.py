"""``bundle build`` and ``bundle lint`` on a product whose images lie in a registry, as a person types them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.unit.bundler.layouts import RECIPE, make_product

from .conftest import Distribution
from .doubtful import Fault, Proxy, serving
from .pulling import LARGE, Pushed

pytestmark = pytest.mark.e2e
COMMAND = (sys.executable, "-m", "bundler")


@pytest.fixture
def pushed(tmp_path: Path, registry: Distribution) -> Pushed:
    found = Pushed.make(tmp_path / "layout")
    found.push(f"{registry.address.host}/acme/web:2.1.0")
    return found


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A product with a key."""
    root = tmp_path / "product"
    make_product(root)
    done = run(root, "keygen", "--out", "keys")
    assert done[0] == 0, done
    return root


def environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEALIFT_", "GITHUB_", "CI_"))}
    repository = str(Path(__file__).resolve().parents[2])
    own = {"PYTHONPATH": repository, "SEALIFT_PASSPHRASE": "word", "DOCKER_CONFIG": str(root / "no-docker-config")}
    return kept | own


def run(root: Path, *words: str, **more: str) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [*COMMAND, *words, "--json"],
        cwd=root,
        env=environment(root) | more,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, json.loads(done.stdout), done.stderr


BUILD = ("build", "v2.1.0", "--key", "keys/release.key", "--installer", "manifests/board/install")


def take_from(product: Path, host: str, pin: str = "", registries: dict[str, Any] | None = None) -> None:
    """Let the image ``web`` come from the registry."""
    text = RECIPE.replace('"oci:layouts/web"', f'"docker://{host}/acme/web:{{{{ version }}}}{pin}"')
    (product / "manifests/board/release.yaml").write_text(text + f"registries: {json.dumps(registries or {})}\n")


def test_builds_from_a_registry_and_the_bundle_verifies(pushed: Pushed, registry: Distribution, product: Path) -> None:
    take_from(product, registry.address.host, f"@{pushed.digests['index']}")
    code, value, talk = run(product, *BUILD)
    assert code == 0, talk
    assert "spooling" not in talk
    code, shown, _ = run(product, "verify", value["kit"], "--key", "keys/release.pub")
    assert (code, shown["verified"]) == (0, True)
    assert len(registry.requests("GET", pushed.digests["large"])) == 1


def test_build_again_pulls_nothing_that_an_earlier_bundle_holds(
    pushed: Pushed, registry: Distribution, product: Path, tmp_path: Path
) -> None:
    take_from(product, registry.address.host)
    assert run(product, *BUILD)[0] == 0
    newer = Pushed.make(tmp_path / "newer", b"one small layer more")
    newer.push(f"{registry.address.host}/acme/web:2.1.0")
    code, _, talk = run(product, *BUILD, "--force")
    assert code == 0, talk
    assert len(registry.requests("GET", pushed.digests["large"])) == 1
    assert finished(product) == ["board-v2.1.0"]


def test_lint_pulls_no_layer_and_names_a_wrong_pin(pushed: Pushed, registry: Distribution, product: Path) -> None:
    take_from(product, registry.address.host)
    code, value, talk = run(product, "lint")
    assert code == 0, (value, talk)
    assert not registry.requests("GET", pushed.digests["large"])
    assert registry.requests("HEAD", pushed.digests["large"])
    take_from(product, registry.address.host, "@sha256:" + "0" * 64)
    code, value, _ = run(product, "lint")
    assert (code, value["error"]["id"]) == (2, "image-not-found")
    assert f"the tag 2.1.0 is {pushed.digests['index']} now" in value["error"]["message"]


def finished(product: Path) -> list[str]:
    """What stands under final names."""
    return [path.name for path in (product / "dist").glob("*") if not path.name.endswith(".partial")]


@pytest.mark.parametrize(
    ("kind", "times", "code", "error"),
    [("altered", 1, 4, "digest-mismatch"), ("403", 9, 9, "registry-login"), ("404", 9, 2, "image-not-found")],
)
def test_bad_blob_is_refused_and_leaves_no_bundle(
    pushed: Pushed, registry: Distribution, product: Path, kind: str, times: int, code: int, error: str
) -> None:
    proxy = Proxy(registry.address.host, [Fault("GET", pushed.digests["large"], kind, times)])
    with serving(proxy):
        take_from(product, proxy.url.removeprefix("http://"))
        found, value, _ = run(product, *BUILD)
        assert (found, value["error"]["id"]) == (code, error)
        assert finished(product) == []
        proxy.faults.clear()
        assert run(product, *BUILD)[0] == 0


def test_mirrors_of_the_manifest_are_used(pushed: Pushed, registry: Distribution, product: Path) -> None:
    take_from(product, "hub.example", registries={"hub.example": {"mirrors": [registry.address.host]}})
    code, _, talk = run(product, *BUILD)
    assert code == 0, talk


def test_file_of_this_machine_wins_over_the_manifest(
    pushed: Pushed, registry: Distribution, product: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_from(product, "hub.example", registries={"hub.example": {"mirrors": ["127.0.0.1:1"]}})
    own = product / "registries.yaml"
    own.write_text(f"registries: {{hub.example: {{mirrors: ['{registry.address.host}']}}}}\n")
    code, _, talk = run(product, *BUILD, SEALIFT_REGISTRIES=str(own))
    assert code == 0, talk
    own.write_text("registries: {hub.example: {insecure: true}}\n")
    code, value, _ = run(product, "lint", SEALIFT_REGISTRIES=str(own))
    assert (code, value["error"]["id"]) == (2, "manifest-invalid")
    own.unlink()
    code, value, _ = run(product, "lint", SEALIFT_REGISTRIES=str(own))
    assert (code, value["error"]["id"]) == (2, "input-missing")


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_build_that_is_stopped_in_the_middle_of_a_pull_leaves_no_bundle(
    pushed: Pushed, registry: Distribution, product: Path, how: signal.Signals
) -> None:
    stuck = Fault("GET", pushed.digests["large"], "200", 9, {"Content-Length": str(len(LARGE))}, b"x" * 1000)
    proxy = Proxy(registry.address.host, [stuck])
    with serving(proxy):
        take_from(product, proxy.url.removeprefix("http://"))
        process = subprocess.Popen([*COMMAND, *BUILD], cwd=product, env=environment(product), stderr=subprocess.DEVNULL)
        while not any(pushed.digests["large"] in path for method, path, _ in proxy.seen if method == "GET"):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(how)
        assert process.wait(30) == (130 if how is signal.SIGINT else -how)
        assert finished(product) == []
        proxy.faults.clear()
        assert run(product, *BUILD)[0] == 0
        assert finished(product) == ["board-v2.1.0"]
