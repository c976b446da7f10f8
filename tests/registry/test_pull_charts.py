"""Charts judged by Helm's own loader, and taken out of a real registry."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bundler.build import Request, build
from bundler.collect.charts import collect_charts, pack
from bundler.collect.files import CollectedFile
from bundler.collect.registry.store import Registries
from bundler.manifest.recipe import Chart
from bundler.signing.sign import generate
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import RECIPE, make_product

from .conftest import Distribution
from .doubtful import Fault, Proxy, serving
from .pulling import QUICK, Pushed

pytestmark = pytest.mark.e2e
CHART = b"apiVersion: v2\nname: web\nversion: 1.2.3+build.5\ndescription: of a test\n"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CONTENT = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
PROVENANCE = "application/vnd.cncf.helm.chart.provenance.v1.prov"


@dataclass(frozen=True)
class Helm:
    """Helm's own loader: what it finds in a chart, line by line, or what it says against it."""

    program: Path

    def finds(self, chart: Path) -> list[str]:
        done = subprocess.run([self.program, chart], capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()


@pytest.fixture(scope="module")
def helm(repository: Path, wide_cache: Path) -> Helm:
    """Built once: 20 s of CPU time. All of Helm would take 300 s, to read charts by the same code."""
    source = repository / "tests/helm"
    text = b"".join(path.read_bytes() for path in sorted(source.iterdir()))
    program = wide_cache / "helm" / f"loader-{hashlib.sha256(text).hexdigest()[:16]}"
    if not program.is_file():
        program.parent.mkdir(parents=True, exist_ok=True)
        made = program.with_suffix(".new")
        subprocess.run(["go", "build", "-o", made, "."], cwd=source, check=True, timeout=600)
        made.rename(program)
    return Helm(program)


@pytest.fixture
def chart(tmp_path: Path) -> Path:
    """A folder with all that can go wrong: ignored files, a dependency, odd modes."""
    files = {
        "Chart.yaml": CHART + b"dependencies: [{name: db, version: 1.0.0}]\n",
        "values.yaml": b"image: web\n",
        "values.schema.json": b"{}",
        ".helmignore": b"# not these\n*.bak\nlocal/\n/only-at-top\n!*\n",
        "templates/a.yaml": b"kind: A\n",
        "templates/_helpers.tpl": b"{{/* */}}",
        "templates/.hidden": b"x",
        "crds/c.yaml": b"kind: C\n",
        "a.bak": b"",
        "deep/er/b.bak": b"",
        "local/secret": b"",
        "only-at-top": b"",
        "deep/only-at-top": b"",
        "large.bin": bytes(range(256)) * 1000,
        "charts/db/Chart.yaml": b"apiVersion: v2\nname: db\nversion: 1.0.0\n",
        "charts/db/templates/d.yaml": b"kind: D\n",
    }
    folder = tmp_path / "chart"
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (folder / "values.yaml").chmod(0o700)
    return folder


def collected(base: Path, **place: str) -> list[CollectedFile]:
    chart = Chart.model_validate_json(json.dumps(place))
    registries = Registries({}, Talk(quiet=True), QUICK)
    return list(collect_charts([chart], base, lambda: registries))


def written(file: CollectedFile, folder: Path) -> Path:
    path = folder / Path(file.file.path).name
    path.write_bytes(b"".join(file.content.chunks()))
    return path


def test_helm_finds_the_same_in_the_folder_and_in_what_we_pack(chart: Path, helm: Helm, tmp_path: Path) -> None:
    (file,) = collected(tmp_path, path="chart")
    found = helm.finds(written(file, tmp_path))
    assert found == helm.finds(chart)
    assert found[0] == "web 1.2.3+build.5 1"
    assert "templates/a.yaml 8" in found
    assert not [line for line in found if line.startswith(("a.bak", "deep/er", "local", "only", "templates/.hidden"))]


RULES = ("deep", "deep/*", "/deep", "!*.bak", "[d-l]*", "[^C.tv]*", "*.y?ml", r"\a.bak", "c*/", "[", "**", "l*\n\n!x")


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_of_helmignore_leaves_out_what_helm_leaves_out(
    chart: Path, helm: Helm, tmp_path: Path, rule: str
) -> None:
    (chart / ".helmignore").write_text(f"{rule}\n")
    (chart / "Chart.yaml").write_bytes(CHART)  # rules that leave out a needed chart are another matter
    try:
        expected = helm.finds(chart)
    except AssertionError:
        with pytest.raises(SealiftError) as caught:
            collected(tmp_path, path="chart")
        assert caught.value.id == "chart-invalid"
        return
    (file,) = collected(tmp_path, path="chart")
    assert helm.finds(written(file, tmp_path)) == expected


def pushed(registry: Distribution, folder: Path, **layers: bytes) -> str:
    """Push a chart as ``helm push`` does; returns its reference."""
    (folder / "config.json").write_text('{"name":"web","version":"1.2.3+build.5"}')
    words = []
    for kind, content in ((CONTENT, layers["chart"]), (PROVENANCE, layers.get("provenance"))):
        if content is not None:
            (folder / kind.rpartition(".")[2]).write_bytes(content)
            words.append(f"{kind.rpartition('.')[2]}:{kind}")
    place = f"{registry.address.host}/charts/web:1.2.3_build.5"
    command = ["oras", "push", "--plain-http", place, "--config", f"config.json:{CONFIG}", *words]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return f"oci://{registry.address.host}/charts/web:1.2.3+build.5"


def test_chart_of_a_registry_comes_byte_for_byte_with_its_provenance(
    registry: Distribution, helm: Helm, tmp_path: Path
) -> None:
    packed = pack("web", {"Chart.yaml": CHART})
    source = pushed(registry, tmp_path, chart=packed, provenance=b"signed by the vendor\n")
    chart, provenance = collected(tmp_path, **{"from": source})
    assert b"".join(chart.content.chunks()) == packed
    assert [one.file.path for one in (chart, provenance)] == [
        "charts/web-1.2.3_build.5.tgz",
        "charts/web-1.2.3_build.5.tgz.prov",
    ]
    assert helm.finds(written(chart, tmp_path))[0] == "web 1.2.3+build.5 0"


def test_image_is_no_chart(registry: Distribution, tmp_path: Path) -> None:
    Pushed.make(tmp_path / "layout").push(f"{registry.address.host}/acme/web:1")
    with pytest.raises(SealiftError) as caught:
        collected(tmp_path, **{"from": f"oci://{registry.address.host}/acme/web:1"})
    assert caught.value.id == "chart-invalid"


def test_altered_chart_is_refused(registry: Distribution, tmp_path: Path) -> None:
    source = pushed(registry, tmp_path, chart=pack("web", {"Chart.yaml": CHART}))
    with serving(proxy := Proxy(registry.address.host, [Fault("GET", "/blobs/", "altered", 9)])):
        host = proxy.url.removeprefix("http://")
        with pytest.raises(SealiftError) as caught:
            collected(tmp_path, **{"from": source.replace(registry.address.host, host)})
    assert caught.value.id == "digest-mismatch"


@pytest.mark.parametrize("source", ["https://charts.example/web-1.tgz", "docker://h/web:1", "web"])
def test_other_places_are_refused(tmp_path: Path, source: str) -> None:
    with pytest.raises(SealiftError) as caught:
        collected(tmp_path, **{"from": source})
    assert caught.value.id == "source-unsupported"


def test_release_lists_its_charts(chart: Path, registry: Distribution, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    other = pack("other", {"Chart.yaml": CHART.replace(b"web", b"other")})
    source = pushed(registry, tmp_path, chart=other)
    manifest = make_product(tmp_path / "product")
    manifest.write_text(f'{RECIPE}charts: [{{path: "{chart}"}}, {{from: "{source}"}}]\n')
    generate(tmp_path, "release", "word")
    request = Request(
        "v2.1.0", tmp_path / "product", keys=(tmp_path / "release.key",), installer=manifest.parent / "install"
    )
    made = build(request, lambda _: "word", Talk(quiet=True))
    listed = [file.path for file in made.assembly.release.files if file.role == "chart"]
    assert listed == ["charts/other-1.2.3_build.5.tgz", "charts/web-1.2.3_build.5.tgz"]
    held = subprocess.run(["tar", "--zstd", "-xOf", made.bundle, listed[0]], capture_output=True, check=True).stdout
    assert held == other
