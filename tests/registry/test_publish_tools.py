"""Other people's tools on a release in a registry: oras, crane and skopeo list, fetch and copy it, cosign checks it."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bundler.publish import form
from bundler.verification import verify_media
from installer.bundle import release
from installer.bundle.digest import Digest
from installer.bundle.signature import MEDIA_TYPE
from installer.errors import ERRORS
from installer.talk import Talk
from tests.unit.trust.keys import key, policy

from .conftest import Distribution, Start
from .distribution3 import distribution3
from .shelf import TAG, Shelf, files

pytestmark = pytest.mark.e2e


def run(*command: str | Path, cwd: Path | None = None) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=cwd)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture
def other(start_registry: Start, wide_cache: Path) -> Distribution:
    """Another registry, of the next generation."""
    return start_registry(program=str(distribution3(wide_cache)))


@pytest.fixture
def shelf(registry: Distribution, kit: Path, tmp_path: Path) -> Shelf:
    """A release that has been pushed to Distribution 2.8."""
    made = Shelf.at(registry.address.host, kit, tmp_path / "out")
    made.push()
    return made


@pytest.fixture
def name(shelf: Shelf) -> str:
    return str(shelf.place).removeprefix("oci://")


def copied(shelf: Shelf, other: Distribution, repository: str) -> Shelf:
    """The release where a tool has copied it to, pulled and verified there."""
    there = Shelf.at(other.address.host, shelf.kit, shelf.output.with_name("copied"), repository)
    pulled = there.pull(policy=policy("release", "colleague", threshold=2))
    assert files(pulled.built.kit) == files(shelf.kit)
    verify_media(pulled.built.kit, policy("release", "colleague", threshold=2), Talk(quiet=True))
    return there


def test_registry_holds_what_the_format_page_says(registry: Distribution, shelf: Shelf) -> None:
    """The table "In a registry" of FORMAT.md, against every manifest that was pushed."""
    page = (Path(release.__file__).with_name("FORMAT.md")).read_text(encoding="utf-8")
    words = page.split("### In a registry")[1].split("###")[0]
    rows = [line.strip("| ").split(" | ") for line in words.splitlines() if line.startswith("|")]
    told = {row[1].strip("`"): row for row in rows[2:]}
    client, repository = registry.client(), shelf.place.repository
    tags = run("oras", "repo", "tags", "--plain-http", f"{registry.address.host}/{repository}").split()
    found = {tag: json.loads(client.manifest(repository, tag) or b"") for tag in tags}
    kinds = {tag: value.get("artifactType") for tag, value in found.items()}
    assert set(kinds.values()) - {None} == told.keys() - {form.ROOT_TYPE}
    assert {kind.artifact_type: kind.most for kind in form.KINDS.values()} == {
        name: int(row[4]) for name, row in told.items() if row[4].isdecimal()
    }
    short = shelf.release.digest.short
    for tag, value in found.items():
        raw = client.manifest(repository, tag) or b""
        kind = value.get("artifactType")
        if kind is not None and tag not in (TAG, f"sealift-board-2.1.0-{short}"):
            assert tag == f"sealift-{short}-{Digest.of(raw).hex[:32]}"
            assert value["subject"]["digest"] == shelf.subject
        if kind in (form.IMAGES_TYPE, None):
            continue
        config = told[kind][2].strip("`").partition("`")[0]
        assert value["config"]["mediaType"] == {"release.json": kind, "{}": form.EMPTY_TYPE}[config]
        for layer in value["layers"]:
            assert layer["annotations"].keys() == {form.TITLE}
    for text, code in re.findall(r"`([a-z-]+)`(?:, `[a-z-]+`)?, (\d)\)", words):
        assert int(ERRORS[text]) == int(code), text


def test_oras_shows_the_release_and_who_refers_to_it(shelf: Shelf, name: str) -> None:
    manifest = run("oras", "manifest", "fetch", "--plain-http", name)
    assert manifest.encode() == shelf.manifest
    assert json.loads(manifest)["artifactType"] == "application/vnd.sealift.release.v1+json"
    found = json.loads(run("oras", "discover", "--plain-http", "--format", "json", name))
    kinds = [one["artifactType"] for one in found["referrers"]]
    assert kinds.count(MEDIA_TYPE) == 2 and kinds.count(form.IMAGES_TYPE) == 1
    assert kinds.count(form.PROGRAM_SIGNATURE_TYPE) == 2


def test_oras_pulls_the_files_of_the_release(shelf: Shelf, name: str, tmp_path: Path) -> None:
    run("oras", "pull", "--plain-http", "--config", "release.json", name, cwd=tmp_path)
    assert (tmp_path / "release.json").read_bytes() == shelf.statement
    assert (tmp_path / "program/install").read_bytes() == (shelf.kit / "install").read_bytes()


def test_oras_copies_all_of_it_with_what_refers_to_it(shelf: Shelf, name: str, other: Distribution) -> None:
    run("oras", "copy", "-r", "--from-plain-http", "--to-plain-http", name, f"{other.address.host}/copy/board:{TAG}")
    copied(shelf, other, "copy/board")


def test_crane_lists_and_shows_the_release(shelf: Shelf, name: str) -> None:
    assert TAG in run("crane", "ls", "--insecure", name.rpartition(":")[0]).split()
    assert run("crane", "manifest", "--insecure", name).encode() == shelf.manifest
    assert run("crane", "digest", "--insecure", name).strip() == shelf.subject


def test_crane_copies_all_of_it(shelf: Shelf, name: str, other: Distribution) -> None:
    repository = name.rpartition(":")[0]
    # One at a time: crane keeps the list of referrers of its own accord, and loses lines of it when it races itself.
    run("crane", "copy", "--insecure", "--jobs", "1", "--all-tags", repository, f"{other.address.host}/copy/board")
    copied(shelf, other, "copy/board")


def test_skopeo_takes_an_image_of_the_release(shelf: Shelf, name: str, tmp_path: Path) -> None:
    image = shelf.release.image("web")
    repository = name.rpartition(":")[0]
    words = ("--preserve-digests", "--src-tls-verify=false", f"docker://{repository}@{image.digest}")
    run("skopeo", "copy", *words, f"oci:{tmp_path}/layout:1")
    raw = (tmp_path / "layout/blobs/sha256" / image.digest[7:]).read_bytes()
    assert len(raw) == image.manifests[-1].size


def test_cosign_verifies_a_signature_as_it_lies_in_the_registry(shelf: Shelf, name: str, tmp_path: Path) -> None:
    found = json.loads(run("oras", "discover", "--plain-http", "--format", "json", name))
    signatures = [one["reference"] for one in found["referrers"] if one["artifactType"] == MEDIA_TYPE]
    for reference in signatures:
        run("oras", "pull", "--plain-http", reference, cwd=tmp_path)
    run("oras", "pull", "--plain-http", "--config", "release.json", name, cwd=tmp_path)
    (tmp_path / "colleague.pub").write_bytes(key("colleague").public_pem)
    bundle = tmp_path / "signatures/colleague.sigstore.json"
    words = ("--key", "colleague.pub", "--bundle", bundle, "--insecure-ignore-tlog=true", "release.json")
    run("cosign", "verify-blob", *words, cwd=tmp_path)


def test_what_oras_attaches_counts(shelf: Shelf, name: str, tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_bytes(key("customer").signature_file(shelf.statement))
    attached = ("--artifact-type", MEDIA_TYPE, name, f"mine.json:{MEDIA_TYPE}")
    run("oras", "attach", "--plain-http", *attached, cwd=tmp_path)
    pulled = shelf.pull(policy=policy("release", "customer", threshold=2))
    assert {signer.name for signer in pulled.signers or ()} == {"release", "customer"}
    verify_media(pulled.built.kit, policy("customer"), Talk(quiet=True))
