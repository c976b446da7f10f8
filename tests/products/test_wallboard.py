"""A product that nobody made for sealift: its compose file becomes a signed release by two commands."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import yaml

from bundler.manifest.recipe import load_recipe
from bundler.verification import verify_media
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.content import Sink, Writer
from installer.bundle.release import Descriptor, File
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.site.render import compose_name, render
from installer.site.site import parse_site
from installer.talk import Talk
from installer.targets.compose_file import split
from tests.products.wallboard.product import Wallboard
from tests.unit.site.builders import placement_of

pytestmark = pytest.mark.e2e
PINNED = "127.0.0.1:5000/wallboard/board@sha256:" + "0" * 64


class Templates:
    """A sink that keeps the templates of a bundle."""

    def __init__(self) -> None:
        self.found: dict[str, bytes] = {}

    def open(self, member: File | Descriptor) -> Writer | None:
        return _Kept(self.found, member.path) if isinstance(member, File) and member.role == "template" else None

    def close(self) -> None:
        pass


class _Kept:
    def __init__(self, found: dict[str, bytes], path: str) -> None:
        self._found, self._path, self._data = found, path, b""

    def write(self, chunk: bytes) -> None:
        self._data += chunk

    def finish(self) -> None:
        self._found[self._path] = self._data

    def abort(self) -> None:
        pass


def test_init_reads_the_shape_of_the_product_from_its_compose_file(wallboard: Wallboard) -> None:
    recipe = load_recipe(wallboard.root / "manifests/wallboard/release.yaml")
    (service,) = recipe.services.values()
    assert (service.state, service.health and service.health.http) == ("none", ":3000/status")
    (entry,) = recipe.entry_points.values()
    assert (entry.service, entry.port, entry.protocol) == ("board", 3000, "http")
    assert [(smoke.entry, smoke.http) for smoke in recipe.smoke] == [("board", "/status")]
    assert recipe.images["board"].source == f"docker-daemon:{wallboard.repository}:{{{{ version }}}}"
    assert recipe.edge.haproxy and recipe.edge.registry


def test_init_never_overwrites(wallboard: Wallboard) -> None:
    before = (wallboard.root / "manifests/wallboard/release.yaml").read_bytes()
    with pytest.raises(AssertionError, match="exists"):
        wallboard.bundle("init", "--from-compose", "docker-compose.yaml", "--product", "wallboard")
    assert (wallboard.root / "manifests/wallboard/release.yaml").read_bytes() == before


def test_lint_has_nothing_to_refuse(wallboard: Wallboard) -> None:
    assert wallboard.bundle("lint") == {"valid": True, "product": "wallboard", "version": "1.1.0"}


def test_both_releases_are_signed_and_whole(wallboard: Wallboard, kits: dict[str, Path]) -> None:
    for version, kit in kits.items():
        checked = wallboard.bundle("verify", str(kit), "--trust", "keys/root.json")
        assert (checked["product"], checked["version"], checked["verified"]) == ("wallboard", version, True)
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=kit, check=True)


def test_releases_differ_in_their_image_only(wallboard: Wallboard, kits: dict[str, Path]) -> None:
    policy = TrustPolicy.from_root((wallboard.root / "keys/root.json").read_bytes(), "root.json")
    old, new = (verify_media(kit, policy, Talk(quiet=True)).verified.release for kit in kits.values())
    assert old.image("board").digest != new.image("board").digest
    assert old.image("edge-haproxy") == new.image("edge-haproxy")
    assert (old.services, old.entry_points, old.product) == (new.services, new.entry_points, "wallboard")


def test_site_renders_what_init_wrote_to_what_the_stranger_wrote(wallboard: Wallboard, kits: dict[str, Path]) -> None:
    policy = TrustPolicy.from_root((wallboard.root / "keys/root.json").read_bytes(), "root.json")
    templates = Templates()
    sinks: list[Sink] = [templates]
    with BundleReader(locate_bundle(kits["1.0.0"])) as reader:
        release = verify_release(reader, policy).release
        check_content(reader, verify_release(reader, policy), sinks)
    files = {path.removeprefix("templates/"): data for path, data in templates.found.items()}
    rendered = render(release, parse_site("site: hall"), files, {"board": PINNED}, {})
    ours = yaml.safe_load(rendered[compose_name(release)])
    theirs = yaml.safe_load((wallboard.root / "docker-compose.yaml").read_text())
    assert ours["services"]["board"].pop("image") == PINNED
    del theirs["services"]["board"]["image"]
    assert ours == theirs
    parts = split(rendered[compose_name(release)], release, placement_of(release))
    assert parts.base is None
    assert list(parts.colour["services"]) == ["board-1"]
