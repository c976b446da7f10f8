"""A product's compose file, split into a project per colour and one for what is stateful."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.release import Release, Service
from installer.errors import SealiftError
from installer.site.names import Colour
from installer.site.secretfiles import SecretFile
from installer.targets import strict_yaml
from installer.targets.compose_file import ComposeParts, declared_secrets, split, start_order
from tests.unit.site.builders import EMPTY, placement_of, release_of

SERVICES = {
    "gateway": Service(image="gateway", replicas=2, needs=("directory", "store")),
    "directory": Service(image="directory"),
    "store": Service(image="store", state="shared"),
}
SECRETS = {"db": SecretFile("/var/lib/sealift/secrets/note-board/db", "f00d")}
COMPOSE = """\
name: whatever
x-log: &log {logging: {driver: json-file, options: {max-size: 10m}}}
services:
  gateway:
    <<: *log
    image: registry.internal/gateway:1.2.0
    container_name: the-gateway
    ports: ["8080:8080"]
    restart: unless-stopped
    networks: {front: {aliases: [www]}}
    depends_on: {store: {condition: service_healthy}, directory: {condition: service_started}}
    environment: {FLAG: yes, DATABASE: store}
    healthcheck: {test: [CMD, /gateway, --check], interval: 2s}
    deploy: {replicas: 7, resources: {limits: {memory: 64M}}}
    secrets: [{source: db, target: db-password, mode: 0400}]
    volumes: ["./gateway.conf:/etc/gateway.conf", "scratch-space:/unused"]
  directory:
    image: directory
    labels: [team=chat]
  store:
    image: store
    volumes: ["data:/var/lib/data", "./conf/:/etc/store"]
    secrets: [db]
networks: {front: {}}
volumes: {data: {labels: {keep: "yes"}}, unused: {}}
secrets: {db: {file: ./db.txt}}
""".replace(', "scratch-space:/unused"', "")
FILES = {"gateway.conf": b"g", "conf/a": b"a", "conf/b": b"b", "other": b"o"}


def parts_of(
    text: str = COMPOSE,
    services: Mapping[str, Service] = SERVICES,
    colour: Colour = "blue",
    secrets: Mapping[str, SecretFile] = SECRETS,
    files: Mapping[str, bytes] = FILES,
    version: str = "1.2.0",
) -> ComposeParts:
    """``text`` split for a small release."""
    release = release_of(services, version=version)
    return split(text.encode(), release, placement_of(release, colour, secrets, files))


def one_service(spec: str, state: str = "none", top: str = "") -> ComposeParts:
    """A compose file in which the service ``odd`` has ``spec``; ``state`` says where it lives."""
    services = {"odd": Service.model_validate({"image": "odd", "state": state}), "calm": Service(image="calm")}
    text = f"services:\n  calm: {{image: calm}}\n  odd: {{image: odd, {spec}}}\n{top}"
    return parts_of(text, services)


def refusal(spec: str, state: str = "none", top: str = "") -> SealiftError:
    """The error that ``one_service`` ends with."""
    with pytest.raises(SealiftError) as refused:
        one_service(spec, state, top)
    return refused.value


def containers(parts: ComposeParts, part: str = "colour") -> dict[str, Any]:
    """The compose services of a part."""
    document = parts.base if part == "base" else parts.colour
    assert document is not None
    services: dict[str, Any] = document["services"]
    return services


def test_makes_one_compose_service_per_replica_with_a_fixed_address_and_a_common_name() -> None:
    services = containers(parts_of())

    assert sorted(services) == ["directory-1", "gateway-1", "gateway-2"]
    assert services["directory-1"]["networks"]["blue"]["ipv4_address"] == "10.213.0.2"
    assert services["gateway-1"]["networks"]["blue"]["ipv4_address"] == "10.213.0.3"
    assert services["gateway-2"]["networks"]["blue"]["ipv4_address"] == "10.213.0.4"
    assert services["gateway-2"]["networks"]["blue"]["aliases"] == ["gateway", "the-gateway", "www"]


def test_puts_each_colour_into_its_own_network_and_the_base_into_both() -> None:
    blue, green = parts_of(colour="blue"), parts_of(colour="green")

    assert blue.colour["networks"] == {"blue": {"external": True, "name": "note-board-1a2b3c-net-blue"}}
    assert green.colour["networks"] == {"green": {"external": True, "name": "note-board-1a2b3c-net-green"}}
    assert containers(green)["directory-1"]["networks"]["green"]["ipv4_address"] == "10.213.0.130"
    assert sorted(blue.base["networks"]) == ["blue", "green"] if blue.base else False
    assert containers(blue, "base")["store"]["networks"] == {
        "blue": {"aliases": ["store"]},
        "green": {"aliases": ["store"]},
    }
    assert (blue.colour["name"], green.colour["name"]) == ("note-board-1a2b3c-blue", "note-board-1a2b3c-green")


def test_replaces_what_would_tie_two_colours_together() -> None:
    gateway = containers(parts_of())["gateway-1"]

    assert gateway["image"] == f"127.0.0.1:5000/note-board/gateway@{EMPTY}"
    assert gateway["restart"] == "always"
    assert {"container_name", "ports"} & set(gateway) == set()
    assert gateway["deploy"] == {"resources": {"limits": {"memory": "64M"}}}


def test_keeps_what_the_product_says_about_its_processes() -> None:
    gateway = containers(parts_of())["gateway-1"]

    assert gateway["healthcheck"] == {"test": ["CMD", "/gateway", "--check"], "interval": "2s"}
    assert gateway["environment"] == {"FLAG": "yes", "DATABASE": "store"}
    assert gateway["logging"] == {"driver": "json-file", "options": {"max-size": "10m"}}


def test_keeps_the_order_of_start_within_a_project_and_drops_it_across() -> None:
    assert containers(parts_of())["gateway-1"]["depends_on"] == {"directory-1": {"condition": "service_started"}}


def test_waits_for_every_replica() -> None:
    services = {"a": Service(image="a"), "b": Service(image="b", replicas=2)}
    parts = parts_of("services: {a: {image: a, depends_on: [b]}, b: {image: b}}", services)

    assert sorted(containers(parts)["a-1"]["depends_on"]) == ["b-1", "b-2"]


def test_does_not_start_again_what_others_wait_for_the_end_of() -> None:
    services = {"a": Service(image="a"), "b": Service(image="b")}
    text = "services: {a: {depends_on: {b: {condition: service_completed_successfully}}}, b: {}}"
    found = containers(parts_of(text, services))

    assert found["b-1"]["restart"] == "no"
    assert found["b-1"]["labels"]["dev.sealift.finishes"] == "yes"
    assert found["a-1"]["restart"] == "always"


def test_gives_secrets_as_files_of_the_site_and_without_modes_that_compose_ignores() -> None:
    parts = parts_of()

    assert parts.colour["secrets"] == {"db": {"file": "/var/lib/sealift/secrets/note-board/db"}}
    assert containers(parts)["gateway-1"]["secrets"] == [{"source": "db", "target": "db-password"}]
    assert containers(parts, "base")["store"]["secrets"] == [{"source": "db"}]
    assert declared_secrets(COMPOSE.encode()) == ("db",)


def test_keeps_compose_from_replacing_a_dollar_sign_in_our_paths() -> None:
    parts = parts_of(secrets={"db": SecretFile("/srv/a$b/db", "1")})
    assert parts.colour["secrets"] == {"db": {"file": "/srv/a$$b/db"}}


def test_names_a_secret_that_the_site_lacks() -> None:
    with pytest.raises(SealiftError) as refused:
        parts_of(secrets={})
    assert refused.value.id == "secret-missing"
    assert "db: {file:" in refused.value.hint


def test_mounts_rendered_files_read_only_and_collects_those_of_the_base() -> None:
    parts = parts_of()

    mount = containers(parts)["gateway-1"]["volumes"][0]
    assert mount["source"] == "./gateway.conf"
    assert mount["read_only"] is True
    assert mount["bind"]["create_host_path"] is False
    assert parts.base_files == {"conf/a": b"a", "conf/b": b"b"}


def test_volumes_belong_to_the_base_and_keep_their_name_whatever_colour_and_version() -> None:
    for parts in (parts_of(), parts_of(colour="green", version="1.3.0")):
        assert parts.base is not None
        assert sorted(parts.base["volumes"]) == ["data"]
        assert parts.base["volumes"]["data"]["name"] == "note-board-1a2b3c-base_data"
        assert parts.base["volumes"]["data"]["labels"]["keep"] == "yes"
        assert "volumes" not in parts.colour


def test_base_is_the_same_bytes_for_another_colour_and_version() -> None:
    first, second = parts_of(), parts_of(colour="green", version="1.3.0", files={**FILES, "gateway.conf": b"new"})

    assert first.write("base") == second.write("base")
    assert first.base_key == second.base_key
    assert first.write("blue") != second.write("green")


def test_base_changes_with_the_content_of_its_secrets_and_files() -> None:
    other_secret = parts_of(secrets={"db": SecretFile(SECRETS["db"].path, "beef")})
    other_file = parts_of(files={**FILES, "conf/b": b"changed"})

    assert other_secret.write("base") != parts_of().write("base")
    assert other_file.write("base") != parts_of().write("base")
    assert other_file.base_key != parts_of().base_key


def test_labels_say_whose_container_it_is() -> None:
    parts = parts_of()
    labels = containers(parts)["gateway-2"]["labels"]

    assert {key: labels[f"dev.sealift.{key}"] for key in ("owner", "product", "part", "service", "replica")} == {
        "owner": "sealift-1a2b3c",
        "product": "note-board",
        "part": "blue",
        "service": "gateway",
        "replica": "2",
    }
    assert labels["dev.sealift.version"] == "1.2.0"
    assert labels["dev.sealift.release"].startswith("sha256:")
    assert containers(parts)["directory-1"]["labels"]["team"] == "chat"
    assert "dev.sealift.release" not in containers(parts, "base")["store"]["labels"]


def test_has_no_base_when_nothing_is_stateful() -> None:
    parts = one_service("init: true")
    assert parts.base is None
    assert parts.base_files == {}


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("build: .", "build"),
        ("network_mode: host", "network_mode"),
        ("links: [calm]", "links"),
        ("external_links: [calm]", "external_links"),
        ("extends: {service: calm}", "extends"),
        ("profiles: [debug]", "profiles"),
        ("volumes_from: [calm]", "volumes_from"),
        ("depends_on: [nobody]", "nobody"),
        ("secrets: [undeclared]", "undeclared"),
        ("configs: [undeclared]", "undeclared"),
        ("volumes: ['undeclared:/x']", "undeclared"),
        ("volumes: ['$HOME/x:/x']", "HOME"),
        ("volumes: ['${V:-x}:/x']", "{V"),
        ("volumes: ['~/x:/x']", "~/x"),
        ("volumes: ['../x:/x']", "../x"),
        ("volumes: ['./x/../../y:/x']", "y"),
        ("volumes: ['./data:/x']", "data"),
        ("volumes: ['./other:/x:weird']", "weird"),
        ("volumes: [{type: npipe, source: a, target: b}]", "npipe"),
        ("volumes: [5]", "5"),
        ("volumes: {a: b}", "volumes"),
        ("env_file: missing.env", "missing.env"),
        ("env_file: /etc/passwd", "passwd"),
        ("labels: {dev.sealift.owner: me}", "labels"),
        ("labels: [com.docker.compose.project=x]", "labels"),
        ("labels: 5", "labels"),
    ],
)
def test_refuses_a_service_that_could_not_live_in_two_colours(spec: str, word: str) -> None:
    error = refusal(spec)

    assert error.id == "compose-invalid"
    assert error.exit_code == 2
    assert word in error.message
    assert error.hint


def test_refuses_a_volume_of_a_stateless_service_and_names_the_way_out() -> None:
    error = refusal("volumes: ['data:/x']", top="volumes: {data: }")

    assert "two colours would write to it" in error.message
    assert "state: shared" in error.hint


@pytest.mark.parametrize(
    "top",
    [
        "include: [other.yaml]",
        "networks: {site: {external: true}}",
        "unknown: 1",
    ],
)
def test_refuses_what_reaches_beyond_the_file(top: str) -> None:
    assert refusal("init: true", top=top).id == "compose-invalid"


@pytest.mark.parametrize("config", ["{file: /etc/passwd}", "{file: ../x}", "{external: true}", "{environment: X}"])
def test_refuses_a_config_that_is_no_rendered_file(config: str) -> None:
    assert refusal("configs: [c]", top=f"configs: {{c: {config}}}").id == "compose-invalid"


def test_keeps_configs_from_rendered_files_and_written_out() -> None:
    parts = one_service("configs: [c, {source: d, target: /d}]", top="configs: {c: {file: ./other}, d: {content: x}}")

    assert parts.colour["configs"] == {"c": {"file": "./other"}, "d": {"content": "x"}}
    assert containers(parts)["odd-1"]["configs"] == [{"source": "c"}, {"source": "d", "target": "/d"}]


def test_keeps_files_of_variables_and_may_miss_an_optional_one() -> None:
    parts = one_service("env_file: [other, {path: nope.env, required: false}]")
    assert containers(parts)["odd-1"]["env_file"] == [{"path": "./other"}, {"path": "./nope.env", "required": False}]


@pytest.mark.parametrize(
    ("text", "missing_in"),
    [("services: {a: {image: a}}", "compose file"), ("services: {a: {}, b: {}, c: {}}", "manifest")],
)
def test_refuses_when_manifest_and_compose_file_name_different_services(text: str, missing_in: str) -> None:
    with pytest.raises(SealiftError, match=f"not in the {missing_in}"):
        parts_of(text, {"a": Service(image="a"), "b": Service(image="b")})


def test_refuses_a_stateful_service_that_waits_for_a_stateless_one() -> None:
    assert "turn it round" in refusal("depends_on: [calm]", state="shared").hint


def test_refuses_replicas_of_a_stateful_service() -> None:
    services = {"a": Service(image="a"), "b": Service(image="b", state="shared", replicas=2)}
    with pytest.raises(SealiftError, match="has 2 replicas"):
        parts_of("services: {a: {}, b: {}}", services)


def test_refuses_a_release_with_nothing_to_switch() -> None:
    with pytest.raises(SealiftError, match="nothing to switch"):
        parts_of("services: {b: {}}", {"b": Service(image="b", state="shared")})


def test_refuses_a_service_called_like_the_replica_of_another() -> None:
    services = {"a": Service(image="a"), "a-1": Service(image="b")}
    with pytest.raises(SealiftError, match="a-1"):
        parts_of("services: {a: {}, a-1: {}}", services)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("volumes: ['/var/run/docker.sock:/var/run/docker.sock']", "the engine's socket"),
        ("volumes: ['/etc/ssl:/etc/ssl:ro']", "this host's /etc/ssl"),
        ("privileged: true", "privileged"),
        ("pid: host", "pid"),
        ("cap_add: [NET_ADMIN]", "cap_add"),
        ("security_opt: ['seccomp:unconfined']", "security_opt"),
    ],
)
def test_says_what_reaches_for_the_host(spec: str, words: str) -> None:
    (warning,) = one_service(spec).warnings
    assert "odd" in warning
    assert words in warning


def test_keeps_quiet_about_rights_that_are_given_up() -> None:
    parts = one_service("cap_drop: [ALL], read_only: true, security_opt: ['no-new-privileges:true'], privileged: false")
    assert parts.warnings == ()


@pytest.mark.parametrize("text", ["$LEVEL", "${LEVEL}", "a${LEVEL}b", "${LEVEL:?must be set}", "$$$LEVEL", "$HOME"])
def test_refuses_a_variable_that_only_the_hosts_environment_could_fill_in(text: str) -> None:
    error = refusal(f"environment: {{X: '{text}'}}")
    assert error.id == "compose-invalid"
    assert ".env" in error.hint


@pytest.mark.parametrize("text", ["$$LEVEL", "$${LEVEL}", "${LEVEL:-info}", "${LEVEL-info}", "100 $", "$5"])
def test_keeps_dollar_signs_and_variables_with_a_default(text: str) -> None:
    assert containers(one_service(f"environment: {{X: '{text}'}}"))["odd-1"]["environment"] == {"X": text}


def test_keeps_variables_that_the_products_own_file_sets_and_gives_it_to_the_base_too() -> None:
    services = {"a": Service(image="a"), "b": Service(image="b", state="shared")}
    text = "services: {a: {environment: {X: $LEVEL}}, b: {environment: {X: $LEVEL}}}"
    parts = parts_of(text, services, files={".env": b"# ours\nLEVEL=info\n"})

    assert parts.base_files == {".env": b"# ours\nLEVEL=info\n"}


def test_says_that_networks_of_the_product_are_replaced() -> None:
    assert any("front" in warning for warning in parts_of().warnings)


def test_orders_services_by_what_they_need() -> None:
    release = release_of(SERVICES)

    assert start_order(release, "blue") == ("directory", "gateway")
    assert start_order(release, "base") == ("store",)


def test_orders_many_services_that_each_need_all_before_them() -> None:
    """Were every way through them walked, this would take 2**60 steps."""
    names = [f"s{number:02}" for number in range(60)]
    services = {name: Service(image="a", needs=tuple(names[:at])) for at, name in enumerate(names)}
    assert start_order(release_of(services), "blue") == tuple(names)


def test_refuses_services_that_need_each_other() -> None:
    services = {"a": Service(image="a", needs=("b",)), "b": Service(image="b", needs=("a",))}
    with pytest.raises(SealiftError, match="a -> b -> a"):
        start_order(release_of(services), "blue")


def test_writes_a_file_that_reads_back_the_same() -> None:
    parts = parts_of()
    assert strict_yaml.parse_mapping(parts.write("blue"), "x") == parts.colour


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["a", "./other", "data:/x", "", "/a:/b", "db"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "source", "target", "type", "path", "file", "aliases"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KEYS = st.sampled_from(
    (
        "volumes",
        "secrets",
        "configs",
        "env_file",
        "labels",
        "networks",
        "depends_on",
        "deploy",
        "container_name",
        "build",
    )
)


@given(
    st.dictionaries(KEYS, JSON, max_size=4), st.dictionaries(st.sampled_from(["volumes", "secrets", "configs"]), JSON)
)
def test_splits_or_refuses_whatever_a_service_says(spec: dict[str, Any], top: dict[str, Any]) -> None:
    release: Release = release_of({"a": Service(image="a")})
    text = strict_yaml.write({"services": {"a": spec}, **top})
    try:
        split(text, release, placement_of(release, secrets=SECRETS, files=FILES))
    except SealiftError as error:
        assert error.id in ("compose-invalid", "secret-missing")
