"""``bundle`` as a person types it: a real engine, a real git, a real full disk, a real kill."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import docker
import pytest

from tests.unit.bundler.layouts import make_product, tar_layer

pytestmark = pytest.mark.e2e
BUNDLE = (sys.executable, "-m", "bundler")


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SEALIFT_", "GITHUB_", "CI_"))}
    cache = {"SEALIFT_CACHE": os.environ["SEALIFT_CACHE"]} if "SEALIFT_CACHE" in os.environ else {}
    repository = Path(__file__).resolve().parents[2]
    return kept | cache | {"PYTHONPATH": str(repository)} | more


def bundle(root: Path, *words: str, **more: str) -> tuple[int, dict[str, Any], str]:
    """Run ``bundle --json`` in ``root``: exit code, the JSON object, stderr."""
    done = subprocess.run(
        [*BUNDLE, *words, "--json"], cwd=root, env=environment(**more), capture_output=True, text=True, timeout=300
    )
    return done.returncode, json.loads(done.stdout), done.stderr


@pytest.fixture
def product(tmp_path: Path) -> Path:
    """A folder where plain ``bundle build v2.1.0`` works: manifest, images, key; the manifest names the key."""
    manifest = make_product(tmp_path)
    code, value, _ = bundle(tmp_path, "keygen", "--out", "keys", SEALIFT_PASSPHRASE="word")
    assert code == 0, value
    with manifest.open("a") as file:
        file.write("sign: {keys: [../../keys/release.key]}\n")
    return tmp_path


def build(root: Path, version: str = "v2.1.0", *words: str, **more: str) -> tuple[int, dict[str, Any], str]:
    installer = ("--installer", "manifests/board/install")
    return bundle(root, "build", version, *installer, *words, **({"SEALIFT_PASSPHRASE": "word"} | more))


@pytest.fixture
def image(engine: docker.DockerClient, unique_name: Callable[[str], str]) -> Iterator[str]:
    """An image in the engine that no other test has."""
    reference = f"{unique_name('sealift-test/board')}:1.0"
    repository, _, tag = reference.partition(":")
    layer = tar_layer(hello=reference.encode())
    engine.api.import_image_from_data(layer, repository=repository, tag=tag)
    yield reference
    engine.images.remove(reference)


def git(root: Path, *words: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main")
    return subprocess.run(["git", *identity, *words], cwd=root, check=True, capture_output=True, text=True).stdout


def in_git(root: Path) -> None:
    git(root, "init", "-q")
    git(root, "add", "manifests")
    git(root, "commit", "-q", "-m", "first")


def test_plain_command_is_all_once_the_key_is_configured(product: Path) -> None:
    code, value, talk = build(product)
    assert code == 0, talk
    assert value["kit"] == "dist/board-v2.1.0"
    assert (value["product"], value["version"], value["size"]) == (
        "board",
        "2.1.0",
        Path(product, value["bundle"]).stat().st_size,
    )
    code, checked, _ = bundle(product, "verify", value["kit"], "--key", "keys/release.pub")
    assert code == 0
    assert (checked["verified"], checked["digest"], checked["not_checked"]) == (True, value["digest"], [])


def test_builds_the_site_program_where_none_is_given(product: Path) -> None:
    code, value, talk = bundle(product, "build", "v2.1.0", SEALIFT_PASSPHRASE="word")
    assert code == 0, talk
    program = product / value["kit"] / "install"
    assert program.read_bytes().startswith(b"#!/bin/sh")
    assert program.stat().st_size > 10_000_000


def test_root_of_trust_vouches_for_the_bundle(product: Path) -> None:
    _, value, _ = build(product)
    bundle(product, "keygen", "--out", "keys", "--name", "root", SEALIFT_PASSPHRASE="word")
    keys = ("--root-key", "keys/root.key", "--release-key", "keys/release.pub")
    code, root, _ = bundle(product, "trust", "init", *keys, "--out", "root.json", SEALIFT_PASSPHRASE="word")
    assert code == 0
    assert (
        subprocess.check_output(["sha256sum", product / "root.json"], text=True).split()[0] == root["fingerprint"][7:]
    )
    code, checked, _ = bundle(product, "verify", value["kit"], "--trust", "root.json")
    assert (code, [signer["name"] for signer in checked["signers"]]) == (0, ["release"])
    other = ("--root-key", "keys/root.key", "--release-key", "keys/release.pub", "--product", "another")
    bundle(product, "trust", "init", *other, "--out", "other.json", SEALIFT_PASSPHRASE="word")
    code, error, _ = bundle(product, "verify", value["kit"], "--trust", "other.json")
    assert (code, error["error"]["id"]) == (6, "wrong-product")


def test_verify_refuses_a_key_that_did_not_sign(product: Path) -> None:
    _, value, _ = build(product)
    bundle(product, "keygen", "--out", "keys", "--name", "other", SEALIFT_PASSPHRASE="word")
    code, error, _ = bundle(product, "verify", value["bundle"], "--key", "keys/other.pub")
    assert (code, error["error"]["id"]) == (5, "no-valid-signature")


def test_inspect_says_that_it_has_verified_nothing(product: Path) -> None:
    _, value, _ = build(product)
    code, shown, _ = bundle(product, "inspect", value["kit"])
    assert (code, shown["verified"], shown["digest"]) == (0, False, value["digest"])
    plain = subprocess.check_output([*BUNDLE, "inspect", value["kit"]], cwd=product, env=environment(), text=True)
    assert plain.startswith("NOT VERIFIED")


def test_takes_an_image_out_of_a_real_engine(product: Path, image: str, engine: docker.DockerClient) -> None:
    manifest = product / "manifests/board/release.yaml"
    manifest.write_text(manifest.read_text().replace("oci:layouts/web", f"docker-daemon:{image}"))
    code, value, talk = build(product)
    assert code == 0, talk
    assert f"spooling {image}" in talk
    _, shown, _ = bundle(product, "inspect", value["kit"])
    (web,) = [one for one in shown["release"]["images"] if one["name"] == "web"]
    assert web["blobs"][0]["digest"] == engine.images.get(image).id
    assert web["reference"] == f"docker.io/{image}"
    assert all(blob["uncompressed"] == blob["size"] for blob in web["blobs"][1:])
    again = build(product, "v2.1.0", "--output", "again")[1]
    assert again["digest"] == value["digest"]
    assert Path(product, again["bundle"]).read_bytes() == Path(product, value["bundle"]).read_bytes()


def test_refuses_an_image_that_the_engine_does_not_have(product: Path) -> None:
    manifest = product / "manifests/board/release.yaml"
    manifest.write_text(
        manifest.read_text().replace("oci:layouts/web", "docker-daemon:sealift-test/none:{{ version }}")
    )
    for verb in (("lint",), ("build", "v2.1.0", "--installer", "manifests/board/install")):
        code, value, _ = bundle(product, *verb, SEALIFT_PASSPHRASE="word")
        assert (code, value["error"]["id"]) == (2, "image-not-found")
        assert "sealift-test/none:2.1.0" in value["error"]["message"]
    assert not list(product.glob("dist/*"))


def test_refuses_where_no_engine_answers(product: Path) -> None:
    manifest = product / "manifests/board/release.yaml"
    manifest.write_text(manifest.read_text().replace("oci:layouts/web", "docker-daemon:sealift-test/none:1"))
    code, value, _ = build(product, DOCKER_HOST=f"unix://{product}/no.sock")
    assert (code, value["error"]["id"]) == (7, "engine-missing")


def test_refuses_without_a_key_and_says_how_to_get_one(tmp_path: Path) -> None:
    make_product(tmp_path)
    code, value, _ = build(tmp_path)
    assert (code, value["error"]["id"]) == (2, "no-signing-key")
    assert "bundle keygen" in value["error"]["hint"]
    assert not list(tmp_path.glob("dist/*"))


def test_refuses_an_encrypted_key_without_passphrase_or_terminal(product: Path) -> None:
    done = subprocess.run(
        [*BUNDLE, "build", "v2.1.0", "--installer", "manifests/board/install"],
        cwd=product, env=environment(), capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == 2
    assert "SEALIFT_PASSPHRASE" in done.stderr


def test_takes_the_passphrase_from_a_file(product: Path) -> None:
    (product / "word").write_text("word\n")
    code, value, talk = bundle(
        product, "build", "v2.1.0", "--installer", "manifests/board/install", "--passphrase-file", "word"
    )
    assert code == 0, talk
    assert value["signers"] == ["release"]


def test_keygen_never_overwrites_and_keeps_the_key_private(product: Path) -> None:
    key = product / "keys/release.key"
    before = key.read_bytes()
    code, value, _ = bundle(product, "keygen", "--out", "keys", SEALIFT_PASSPHRASE="other")
    assert (code, value["error"]["id"]) == (2, "output-exists")
    assert key.read_bytes() == before
    assert key.stat().st_mode & 0o777 == 0o600
    assert b"ENCRYPTED PRIVATE KEY" in before
    check = ["openssl", "pkey", "-in", str(key), "-passin", "pass:word", "-pubout"]
    assert subprocess.check_output(check) == (product / "keys/release.pub").read_bytes()


def test_refuses_a_version_that_contradicts_branch_tag_or_changelog(product: Path) -> None:
    in_git(product)
    git(product, "switch", "-q", "-c", "releases/v2.0.0")
    code, value, _ = build(product)
    assert (code, value["error"]["id"]) == (2, "version-mismatch")
    assert "bundle build v2.0.0" in value["error"]["hint"]
    git(product, "switch", "-q", "main")
    git(product, "tag", "v2.0.0")
    code, value, _ = build(product)
    assert (code, value["error"]["id"]) == (2, "version-mismatch")
    git(product, "tag", "-d", "v2.0.0")
    code, value, _ = build(product, "v2.2.0")
    assert (code, value["error"]["id"]) == (2, "changelog-section-missing")
    git(product, "checkout", "-q", "--detach")
    code, value, _ = build(product, GITHUB_REF_NAME="releases/v2.0.0")
    assert (code, value["error"]["id"]) == (2, "version-mismatch")
    assert not list(product.glob("dist/*"))


def test_builds_what_branch_and_tag_agree_on_at_the_time_of_the_commit(product: Path) -> None:
    in_git(product)
    git(product, "switch", "-q", "-c", "hotfixes/v2.1.0")
    git(product, "tag", "v2.1.0")
    code, value, talk = build(product)
    assert code == 0, talk
    _, shown, _ = bundle(product, "inspect", value["kit"])
    seconds = int(git(product, "log", "-1", "--format=%ct"))
    assert shown["release"]["created"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def test_full_disk_is_said_and_leaves_nothing(product: Path) -> None:
    layer = os.urandom(4_000_000)
    (product / "manifests/board/helper").write_bytes(layer)
    words = " ".join([*BUNDLE, "build", "v2.1.0", "--json", "--installer", "manifests/board/install"])
    script = f"mkdir dist; mount -t tmpfs -o size=2m none dist; {words}; code=$?; ls -A dist >&2; exit $code"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        cwd=product, env=environment(SEALIFT_PASSPHRASE="word"), capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["id"]) == (7, "disk-full"), done.stderr
    assert "board-v2.1.0" not in done.stderr.replace(error["message"], "")


def test_killed_build_leaves_no_final_name_and_the_next_one_sweeps_up(product: Path) -> None:
    helper = product / "manifests/board/helper"
    with helper.open("wb") as file:
        for _ in range(40):
            file.write(os.urandom(1_000_000))
    words = [*BUNDLE, "build", "v2.1.0", "--installer", "manifests/board/install"]
    with subprocess.Popen(
        words,
        cwd=product,
        env=environment(SEALIFT_PASSPHRASE="word"),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(product.glob("dist/*/*.partial")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert list(product.glob("dist/board-v2.1.0.partial/*.bundle.tar.zst.partial"))
    assert not (product / "dist/board-v2.1.0").exists()
    code, value, talk = build(product)
    assert code == 0, talk
    assert [path.name for path in (product / "dist").iterdir()] == ["board-v2.1.0"]
    assert bundle(product, "verify", value["kit"], "--key", "keys/release.pub")[0] == 0


def test_terminated_build_ends_with_130_and_leaves_nothing_under_a_final_name(product: Path) -> None:
    with (product / "manifests/board/helper").open("wb") as file:
        for _ in range(40):
            file.write(os.urandom(1_000_000))
    words = [*BUNDLE, "build", "v2.1.0", "--json", "--installer", "manifests/board/install"]
    with subprocess.Popen(
        words,
        cwd=product,
        env=environment(SEALIFT_PASSPHRASE="word"),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    ) as process:
        deadline = time.monotonic() + 60
        while not list(product.glob("dist/*/*.partial")) and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        out = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert json.loads(out)["error"]["id"] == "interrupted"
    left = [path for path in (product / "dist").rglob("*") if path.is_file()]
    assert {path.name for path in left} <= {"leftover.bundle.tar.zst"}  # the next build may take from it
    assert all(path.parent.name == "board-v2.1.0.partial" for path in left)


def test_dry_run_shows_every_member_and_needs_no_key(tmp_path: Path) -> None:
    make_product(tmp_path)
    code, value, talk = build(tmp_path, "v2.1.0", "--dry-run")
    assert code == 0, talk
    assert {"program/install", "index.json", "CHANGELOG.md"} <= {member["name"] for member in value["members"]}
    assert not (tmp_path / "dist").exists()


def test_lint_tells_of_everything_at_once(product: Path) -> None:
    assert bundle(product, "lint")[0] == 0
    (product / "manifests/board/UPGRADE.md").unlink()
    (product / "manifests/board/templates/broken.j2").write_text("{% if %}")
    shutil.rmtree(product / "manifests/board/layouts/worker")
    code, value, talk = bundle(product, "lint")
    assert code == 2
    assert "error" in value
    assert "UPGRADE.md" in talk
    assert "layouts/worker" in talk
