"""The manifest: one spelling, nothing unknown, every name leads somewhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from bundler.manifest.recipe import fill, find_manifest, load_recipe, parse_recipe
from installer.errors import SealiftError
from tests.unit.bundler.layouts import RECIPE


def refused(text: str) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        parse_recipe(text, "release.yaml")
    assert caught.value.id == "manifest-invalid"
    return caught.value


def test_reads_the_manifest_of_the_sample_product(repository: Path) -> None:
    recipe = load_recipe(repository / "manifests/lan-chat/release.yaml")
    assert recipe.product == "lan-chat"
    assert {"edge-haproxy", "edge-registry", "gateway"} <= set(recipe.sources())


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("product: board", "product: Board", "product"),
        ("product: board", "product: board\nproduct: other", "twice"),
        ("product: board", "product: board\nsurprise: 1", "surprise"),
        ("sealift.dev/v1", "sealift.dev/v2", "apiVersion"),
        ("platforms: [linux/amd64]", "platforms: []", "platforms"),
        ("platforms: [linux/amd64]", "platforms: [windows/amd64]", "platforms"),
        ("worker: {image: worker}", "worker: {image: missing}", "services.worker"),
        ("needs: [worker]", "needs: [nobody]", "services.web"),
        ("worker: {image: worker}", "worker: {image: worker, needs: [web]}", "in a circle: "),
        ("{service: web, port", "{service: nobody, port", "entry_points.web"),
        ("port: 8080, protocol", "port: 99999, protocol", "entry_points.web"),
        ("{entry: web, http", "{entry: nobody, http", "smoke"),
        ('  web: {from: "oci:layouts/web"}', "  web: {from: a}\n  edge-haproxy: {from: b}", "images.edge-haproxy"),
        ("{image: web, replicas: 2", "{image: web, state: shared, replicas: 2", "entry_points.web"),
        ("protocol: http", "protocol: tcp", "smoke"),
        ("since: 2.1.0", "since: 2.1", "inputs.smtp.host"),
        ("{{ os }}", "{{ hostname }}", "placeholder"),
        ("oci:layouts/web", "oci:{{ __import__('os') }}", "placeholder"),
        ("replicas: 2", "replicas: two", "replicas"),
        ("images:", "images: [", "not YAML"),
    ],
)
def test_refuses_a_wrong_manifest_and_names_the_place(old: str, new: str, names: str) -> None:
    assert old in RECIPE
    assert names in refused(RECIPE.replace(old, new, 1)).message


def test_tells_of_every_problem_at_once() -> None:
    error = refused(RECIPE.replace("product: board", "product: Board").replace("replicas: 2", "replicas: 99"))
    assert any("replicas" in line for line in error.details)


def test_fills_in_known_placeholders_only() -> None:
    assert fill("a/{{ version }}/{{os}}", {"version": "2.1.0", "os": "linux"}) == "a/2.1.0/linux"
    with pytest.raises(ValueError, match="secret"):
        fill("{{ secret }}", {"version": "2.1.0"})


def test_finds_the_one_manifest_and_refuses_to_choose(tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as caught:
        find_manifest(tmp_path)
    assert caught.value.id == "manifest-not-found"
    for product in ("one", "two"):
        folder = tmp_path / "manifests" / product
        folder.mkdir(parents=True)
        (folder / "release.yaml").write_text("x")
        if product == "one":
            assert find_manifest(tmp_path) == folder / "release.yaml"
    with pytest.raises(SealiftError) as caught:
        find_manifest(tmp_path)
    assert caught.value.id == "manifest-ambiguous"
    assert "--manifest" in caught.value.hint
