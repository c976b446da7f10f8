"""``bundle init``: what a compose file tells, what it cannot tell, and a template that gives it back."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pytest
import yaml

from bundler.manifest import scaffold
from bundler.manifest.compose import read_compose
from bundler.manifest.recipe import Recipe, load_recipe
from bundler.manifest.template import make_template
from installer.errors import SealiftError

COMPOSE = """\
# A shop as a stranger wrote it.
name: my_shop
x-common: &common
  restart: unless-stopped
services:
  web:
    <<: *common
    image: acme/shop-web:3.2.1   # the front
    ports: ["80:8080", "127.0.0.1:9000:9000/tcp", "5353:53/udp"]
    depends_on: [api, db]
    deploy: {replicas: 2}
    environment:
      FORMAT: "{{.Name}} {% raw %}"
    healthcheck:
      test: curl -f http://localhost:8080/healthz || exit 1
  api:
    <<: *common
    build:
      context: ./api
      args: {A: b}
    command: ["serve"]
    secrets: [db-password]
  db:
    image: postgres:15
    volumes:
      - data:/var/lib/postgresql/data
      - ./init.sql:/docker-entrypoint-initdb.d/init.sql
    ports: ["5432:5432"]
    environment:
      POSTGRES_PASSWORD_FILE: /run/secrets/db-password
      ZONE: ${ZONE:-UTC}
volumes: {data: {}}
secrets:
  db-password: {file: ./secret.txt}
"""


@pytest.fixture
def made(tmp_path: Path) -> tuple[scaffold.Scaffold, Recipe]:
    (tmp_path / "compose.yaml").write_text(COMPOSE)
    result = scaffold.init(tmp_path, tmp_path / "compose.yaml", None)
    return result, load_recipe(result.manifest)


def test_manifest_has_the_shape_of_the_compose_file(made: tuple[scaffold.Scaffold, Recipe]) -> None:
    _, recipe = made
    assert recipe.product == "my-shop"
    assert recipe.images["web"].source == "docker-daemon:acme/shop-web:{{ version }}"
    assert recipe.images["api"].source == "docker-daemon:my-shop-api:latest"
    web, db = recipe.services["web"], recipe.services["db"]
    assert (web.replicas, web.needs, web.state) == (2, ("api", "db"), "none")
    assert web.health is not None
    assert web.health.http == ":8080/healthz"
    assert db.state == "shared"


def test_published_ports_of_stateless_services_become_entry_points(made: tuple[scaffold.Scaffold, Recipe]) -> None:
    result, recipe = made
    entries = {name: (entry.service, entry.port, entry.protocol) for name, entry in recipe.entry_points.items()}
    assert entries == {"web-8080": ("web", 8080, "http"), "web-9000": ("web", 9000, "tcp")}
    assert 'web-8080: {bind: "0.0.0.0:80"}' in result.site
    assert 'web-9000: {bind: "127.0.0.1:9000"}' in result.site
    assert "db-password: {file: /etc/sealift/secrets/db-password}" in result.site


def test_says_what_it_could_not_take_over(made: tuple[scaffold.Scaffold, Recipe]) -> None:
    warnings = "\n".join(made[0].warnings)
    for told in ("53/udp", "./init.sql", "environment", "service db has volumes and published ports"):
        assert told in warnings


def test_template_gives_the_compose_file_back_with_images_and_secrets_filled_in() -> None:
    template = make_template(COMPOSE, {"web": "web", "api": "api", "db": "db"})
    assert "# A shop as a stranger wrote it." in template
    assert "# the front" in template
    images = {"web": "r/web@1", "api": "r/api@1", "db": "r/db@1"}
    rendered = jinja2.Environment(undefined=jinja2.StrictUndefined, autoescape=False).from_string(template)  # noqa: S701
    ours = yaml.safe_load(rendered.render(images=images, secrets={"db_password": "/secrets/db"}))
    theirs = yaml.safe_load(COMPOSE)
    for name, reference in images.items():
        theirs["services"][name]["image"] = reference
    del theirs["services"]["api"]["build"]
    theirs["secrets"]["db-password"]["file"] = "/secrets/db"
    assert ours == theirs


@pytest.mark.parametrize(
    "text",
    [
        "",
        "services: {}",
        "services: [a]",
        "services: {a: {image: b, ports: 5}}",
        "services: {A_B: {image: x}}",
        "services: {a: [b]}",
        "services: {a: {}}",
        "services: {a: {image: x, deploy: {replicas: many}}}",
        ": [",
    ],
)
def test_refuses_what_is_no_compose_file_without_a_traceback(tmp_path: Path, text: str) -> None:
    (tmp_path / "compose.yaml").write_text(text)
    with pytest.raises(SealiftError) as caught:
        scaffold.init(tmp_path, tmp_path / "compose.yaml", "shop")
    assert caught.value.id == "compose-invalid"
    assert not (tmp_path / "manifests").exists()


def test_without_a_compose_file_an_example_is_written_that_lint_can_read(tmp_path: Path) -> None:
    result = scaffold.init(tmp_path / "shop", None, None)
    assert load_recipe(result.manifest).product == "shop"
    assert result.version == "1.0.0"


def test_refuses_to_overwrite_and_then_writes_nothing(tmp_path: Path) -> None:
    result = scaffold.init(tmp_path, None, "shop")
    result.manifest.unlink()
    with pytest.raises(SealiftError) as caught:
        scaffold.init(tmp_path, None, "shop")
    assert caught.value.id == "output-exists"
    assert not result.manifest.exists()


@pytest.mark.parametrize(
    ("test", "found"),
    [
        ('["CMD", "wget", "-qO-", "http://127.0.0.1:3000/status"]', (3000, "/status")),
        ('["CMD-SHELL", "curl -f http://localhost/ || exit 1"]', (80, "/")),
        ('"curl -f http://localhost:8080/a?b=c; true"', (8080, "/a?b=c")),
        ('["CMD", "pg_isready"]', None),
        ('["CMD", "curl", "http://elsewhere:80/"]', None),
    ],
)
def test_reads_the_address_that_a_health_check_asks(test: str, found: tuple[int, str] | None) -> None:
    compose = read_compose(f"services: {{a: {{image: b, healthcheck: {{test: {test}}}}}}}", "c")
    assert compose.services[0].health == found


@pytest.mark.parametrize(
    ("entry", "port"),
    [
        ('"3000"', ("0.0.0.0", None, 3000)),
        ('"80:3000/tcp"', ("0.0.0.0", 80, 3000)),
        ('"127.0.0.1:80:3000"', ("127.0.0.1", 80, 3000)),
        ('"127.0.0.1::3000"', ("127.0.0.1", None, 3000)),
        ("{target: 3000, published: 80, host_ip: 10.0.0.1}", ("10.0.0.1", 80, 3000)),
        ('"3000-3005:3000-3005"', None),
        ('"53:53/udp"', None),
        ("{target: 53, protocol: udp}", None),
        ('"${PORT}:3000"', None),
    ],
)
def test_reads_every_spelling_of_a_published_port(entry: str, port: tuple[str, int | None, int] | None) -> None:
    compose = read_compose(f"services: {{a: {{image: b, ports: [{entry}]}}}}", "c")
    found = [(one.host, one.published, one.container) for one in compose.services[0].ports]
    assert found == ([port] if port else [])
    assert bool(compose.doubts) == (port is None)
