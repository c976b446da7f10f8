"""A bundle without any program of ours: tar, zstd, sha256sum, openssl, cosign, skopeo, by the operator's own page."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bundler.build import Request, build
from bundler.built import Built
from bundler.program.signed import sign_program
from bundler.signing.sign import generate, load_key
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    generate(folder, "release", "word")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Built:
    root = tmp_path_factory.mktemp("product")
    manifest = make_product(root)
    installer = manifest.parent / "install"
    request = Request("v2.1.0", root, keys=(keys / "release.key",), installer=installer, output=root / "out")
    return build(request, lambda _: "word", Talk(quiet=True))


@pytest.fixture(scope="module")
def unpacked(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("unpacked")
    run("tar", "--zstd", "-xf", str(built.bundle), "-C", str(folder))
    return folder


def run(*command: str, cwd: Path | None = None, home: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a stock tool; what it says stands in the failure."""
    environment = os.environ | ({"HOME": str(home)} if home else {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done


def fails(*command: str, cwd: Path | None = None, home: Path | None = None) -> str:
    environment = os.environ | ({"HOME": str(home)} if home else {})
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, f"{command} accepted it: {done.stdout}"
    return done.stdout + done.stderr


def test_tar_lists_the_signed_members_in_their_order(built: Built) -> None:
    listed = run("tar", "--zstd", "-tf", str(built.bundle)).stdout.split()
    head = ["release.json", "signatures/release.sigstore.json", "packing.json"]
    assert listed == head + [name for name, _ in built.assembly.release.members()]


def test_tar_shows_plain_files_of_nobody_and_no_time(built: Built) -> None:
    for line in run("tar", "--zstd", "-tvf", str(built.bundle), "--utc", "--numeric-owner").stdout.splitlines():
        mode, owner, _, day, clock, _ = line.split(maxsplit=5)
        assert (mode in ("-rw-r--r--", "-rwxr-xr-x"), owner, day, clock) == (True, "0/0", "1970-01-01", "00:00")


def test_zstd_finds_the_file_sound(built: Built) -> None:
    run("zstd", "-t", str(built.bundle))
    assert "Frames" in run("zstd", "-l", str(built.bundle)).stdout


def test_sha256sum_finds_the_media_sound_and_sees_damage(built: Built, tmp_path: Path) -> None:
    copy = tmp_path / "stick"
    shutil.copytree(built.kit, copy)
    run("sha256sum", "-c", "SHA256SUMS", cwd=copy)
    data = bytearray((copy / built.bundle.name).read_bytes())
    data[len(data) // 2] ^= 1
    (copy / built.bundle.name).write_bytes(data)
    assert "FAILED" in fails("sha256sum", "-c", "SHA256SUMS", cwd=copy)


def test_skopeo_reads_every_image_of_the_unpacked_bundle(built: Built, unpacked: Path, tmp_path: Path) -> None:
    for image in built.assembly.release.images:
        shown = json.loads(run("skopeo", "inspect", f"oci:{unpacked}:{image.name}").stdout)
        assert shown["Digest"] == image.digest
        assert shown["Layers"] == [blob.digest for blob in image.blobs[1:]]
        run("skopeo", "copy", "--preserve-digests", f"oci:{unpacked}:{image.name}", f"dir:{tmp_path / image.name}")


def test_oras_reads_the_unpacked_bundle_too(built: Built, unpacked: Path) -> None:
    for image in built.assembly.release.images:
        manifest = run("oras", "manifest", "fetch", "--oci-layout", f"{unpacked}:{image.name}").stdout
        assert json.loads(manifest)["layers"][0]["digest"] == image.blobs[1].digest


def test_cosign_accepts_the_signature_of_release_and_program(
    built: Built, unpacked: Path, keys: Path, tmp_path: Path
) -> None:
    verify = ["cosign", "verify-blob", "--key", str(keys / "release.pub"), "--insecure-ignore-tlog=true", "--bundle"]
    run(*verify, "signatures/release.sigstore.json", "release.json", cwd=unpacked, home=tmp_path)
    run(*verify, "install.sigstore.json", "install", cwd=built.kit, home=tmp_path)
    altered = tmp_path / "release.json"
    altered.write_bytes((unpacked / "release.json").read_bytes().replace(b"2.1.0", b"2.1.1"))
    fails(*verify, "signatures/release.sigstore.json", str(altered), cwd=unpacked, home=tmp_path)


def test_openssl_refuses_an_altered_statement(unpacked: Path, keys: Path, tmp_path: Path) -> None:
    signature = json.loads((unpacked / "signatures/release.sigstore.json").read_bytes())["messageSignature"]
    (tmp_path / "sig").write_bytes(base64.b64decode(signature["signature"]))
    verify = ["openssl", "dgst", "-sha256", "-verify", str(keys / "release.pub"), "-signature", str(tmp_path / "sig")]
    assert "Verified OK" in run(*verify, str(unpacked / "release.json")).stdout
    (tmp_path / "altered").write_bytes((unpacked / "release.json").read_bytes() + b" ")
    fails(*verify, str(tmp_path / "altered"))


@pytest.fixture(scope="module")
def built_by_several(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Built:
    """Two sign the release; its program was signed before, by the key for programs."""
    root = tmp_path_factory.mktemp("several")
    installer = make_product(root).parent / "install"
    generate(keys, "second", "word")
    generate(keys, "installer", "word")
    sign_program(installer, [load_key(keys / "installer.key", lambda _: "word")])
    both = (keys / "second.key", keys / "release.key")
    request = Request("v2.1.0", root, keys=both, installer=installer, output=root / "out")
    return build(request, lambda _: "word", Talk(quiet=True))


@pytest.mark.parametrize("by", ["built", "built_by_several"])
def test_commands_of_our_readme_work_as_they_stand(
    request: pytest.FixtureRequest, by: str, keys: Path, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    shutil.copytree(request.getfixturevalue(by).kit, stick)
    shutil.copy(keys / "release.pub", stick / "release.pub")
    page = (Path(__file__).resolve().parents[2] / "README.md").read_text()
    section = page[page.index("## Check a stick without us") :]
    commands = section.split("```sh\n", 1)[1].split("```", 1)[0]
    assert "openssl" in commands and "cosign" in commands
    done = run("sh", "-euc", commands, cwd=stick, home=tmp_path)
    assert done.stdout.count("Verified OK") + done.stderr.count("Verified OK") == 2


@pytest.mark.parametrize(
    ("by", "section", "key"),
    [
        ("built", "1. Before the first time", "release.pub"),
        ("built", "4. Check the release", "release.pub"),
        ("built_by_several", "1. Before the first time", "installer.pub"),
        ("built_by_several", "4. Check the release", "release.pub"),
    ],
)
def test_commands_of_the_operators_page_work_as_they_stand(
    request: pytest.FixtureRequest, by: str, section: str, key: str, keys: Path, tmp_path: Path
) -> None:
    stick = tmp_path / "stick"
    shutil.copytree(request.getfixturevalue(by).kit, stick)
    shutil.copy(keys / key, stick / key)
    page = (stick / "README.txt").read_text()
    text = page[page.index(section) :]
    text = re.split(r"\n\n\n", text, maxsplit=1)[0]
    commands = [line.strip() for line in text.splitlines() if line.startswith("    ") and "trust init" not in line]
    assert any(command.startswith("openssl") for command in commands)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = run("env", f"TMPDIR={scratch}", "sh", "-euc", "\n".join(commands), cwd=stick)
    assert list(scratch.iterdir())
    assert "Verified OK" in done.stdout
