"""Steps as commands: text that a person could type, without a secret and without our environment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from installer.bundle.release import Service
from installer.plan.addresses import colour_net
from installer.site.names import Names
from installer.site.site import parse_site
from installer.targets.compose import ComposeTarget
from tests.unit.site.builders import POOL, release_of

SERVICES = {"web": Service(image="web", replicas=2), "store": Service(image="store", state="shared")}
TARGET = ComposeTarget(
    names=Names(""),
    release=release_of(SERVICES),
    site=parse_site("{site: hospital-7}"),
    folder=Path("/state/releases/x/rendered"),
    base_folder=Path("/state/base/note-board/0123"),
    nets={"blue": colour_net(POOL, 0, "blue"), "green": colour_net(POOL, 0, "green")},
    docker_config=Path("/state/docker"),
)
ENGINE = "DOCKER_HOST=unix:///var/run/docker.sock DOCKER_CONFIG=/state/docker "


def test_makes_a_network_that_leaves_the_fixed_addresses_alone() -> None:
    assert str(TARGET.create_network("green")) == (
        ENGINE + "docker network create --driver bridge --subnet 10.213.0.128/25 --gateway 10.213.0.129 "
        "--ip-range 10.213.0.192/26 --label dev.sealift.colour=green --label dev.sealift.owner=sealift "
        "--label dev.sealift.product=note-board note-board-net-green"
    )
    assert str(TARGET.remove_network("green")) == ENGINE + "docker network rm note-board-net-green"


def test_starts_a_part_without_building_and_without_waiting() -> None:
    assert str(TARGET.up("blue")) == (
        ENGINE + "docker compose --project-name note-board-blue --project-directory /state/releases/x/rendered "
        "--file /state/releases/x/rendered/sealift.blue.yaml up --detach --no-build --pull missing --quiet-pull "
        "--remove-orphans"
    )


def test_starts_one_replica_without_what_it_depends_on() -> None:
    assert TARGET.up("blue", "web-1").argv[-2:] == ("--no-deps", "web-1")
    assert "--remove-orphans" not in TARGET.up("blue", "web-1").argv


def test_keeps_the_base_in_a_folder_of_its_own() -> None:
    command = str(TARGET.pull("base"))
    assert (
        "--project-directory /state/base/note-board/0123 --file /state/base/note-board/0123/sealift.base.yaml"
        in command
    )


def test_takes_a_part_down_by_name_and_never_the_volumes_of_the_base() -> None:
    assert str(TARGET.down("blue")) == (
        ENGINE + "docker compose --project-name note-board-blue down --remove-orphans --volumes"
    )
    assert "--volumes" not in TARGET.down("base").argv
    assert TARGET.down("base").cwd == "/"


def test_shows_the_logs_of_all_replicas_of_a_service() -> None:
    assert TARGET.logs("blue", "web", 20).argv[-4:] == ("--tail", "20", "web-1", "web-2")
    assert TARGET.logs("base", "store", 20).argv[-1] == "store"


def test_runs_a_carried_plugin_by_its_path() -> None:
    carried = replace(TARGET, compose_argv=("/state/tools/ab/docker-compose",))
    assert carried.up("blue").argv[0] == "/state/tools/ab/docker-compose"


def test_leaves_the_time_to_stop_to_the_product_unless_told_otherwise() -> None:
    assert "--timeout" not in TARGET.down("blue").argv + TARGET.up("blue").argv
    assert replace(TARGET, stop_seconds=5).down("blue").argv[-2:] == ("--timeout", "5")
