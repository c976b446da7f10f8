"""The first program from a stick stays on the host as `sealift`, and judges the sticks that follow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.program.hosts import MEDIA, Host

pytestmark = pytest.mark.e2e

PREFIX = "/srv/site two"


def ask(host: Host, command: str, **options: Any) -> Any:
    """What the program says about itself."""
    done = host.sh(command, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="session")
def newer(build_standin: Callable[[str], Path]) -> Path:
    """Version 1.10.0."""
    return build_standin("1.10.0")


@pytest.fixture(scope="session")
def older(build_standin: Callable[[str], Path]) -> Path:
    """Version 1.2.0."""
    return build_standin("1.2.0")


def test_the_first_use_puts_the_program_on_the_host(host: Host) -> None:
    assert "1.2.3" in ask(host, f"sh '{MEDIA}/install' place")
    facts = ask(host, "/usr/local/bin/sealift")
    assert facts["version"] == "1.2.3"
    assert facts["own"] == facts["host"] != "None"
    assert (host.changes / "usr/local/lib/sealift/1.2.3").is_symlink()
    world = ask(host, "cd /root; sealift world x", env={"PATH": "/usr/local/bin:/usr/bin:/bin"})
    assert (world["name"], world["argv"], world["cwd"]) == ("sealift", ["x"], "/root")
    assert "SEALIFT_MEDIA" not in world["env"]
    facts = ask(host, "/bin/sh /usr/local/lib/sealift/1.2.3/start.sh sealift")
    assert facts["own"] == facts["host"]


def test_a_second_time_changes_nothing(own_host: Host) -> None:
    assert "1.2.3" in ask(own_host, f"sh '{MEDIA}/install' place")
    assert own_host.written() == set()


@pytest.mark.parametrize("version", ["1.10.0", "1.2.0"])
def test_another_stick_is_judged_by_the_program_of_the_host(
    own_host: Host, version: str, newer: Path, older: Path
) -> None:
    own_host.stick = (newer if version == "1.10.0" else older).parent
    assert ask(own_host, f"sh '{MEDIA}/install' ")["version"] == "1.2.3"
    world = ask(own_host, f"sh '{MEDIA}/install' world 'a b'")
    assert (world["name"], world["argv"], world["env"]["SEALIFT_MEDIA"]) == ("sealift", ["a b"], MEDIA)
    assert "1.2.3" in ask(own_host, f"sh '{MEDIA}/install' place")
    # What a stick carries can still be asked.
    assert ask(own_host, f"sh '{MEDIA}/install' --version")["version"] == version
    # Its program takes 77 MB when unpacked, and none of that is left; nor is the host's own another.
    assert own_host.written() <= {"tmp"}


def test_a_damaged_stick_is_refused_where_the_host_has_a_program(own_host: Host, newer: Path, tmp_path: Path) -> None:
    own_host.stick = tmp_path / "damaged"
    own_host.stick.mkdir()
    (own_host.stick / "install").write_bytes(newer.read_bytes()[:-1])
    for option in ("--json", "--version --json"):
        done = own_host.install(option)
        assert (done.returncode, json.loads(done.stdout)["error"]["id"]) == (4, "program-damaged")
    assert own_host.written() == set()


@pytest.mark.parametrize(
    "launcher",
    ["", "one line", "#!/bin/sh\n# sealift 1.0.0, put here by its first run; sha256:../../../tmp\necho mine\n"],
)
def test_a_stick_starts_no_program_of_somebody_else(one_host: Host, launcher: str) -> None:
    place = one_host.changes / "usr/local/bin/sealift"
    place.parent.mkdir(parents=True)
    place.write_text(launcher)
    assert ask(one_host, f"sh '{MEDIA}/install'")["version"] == "1.2.3"


def test_the_host_takes_over_a_newer_program_that_it_was_told_to(own_host: Host, newer: Path) -> None:
    own_host.stick = newer.parent
    own_host.sh("mkdir -p /usr/local/lib/sealift/.new.killed/runtime")
    assert "1.10.0" in ask(own_host, f"/usr/local/bin/sealift adopt '{MEDIA}/install' 1.10.0")
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.10.0"
    assert own_host.sh("ls /usr/local/lib/sealift").stdout.split() == ["1.10.0", "1.2.3", "runtime"]


def test_after_a_kill_at_any_moment_the_host_has_the_old_program_or_the_new(own_host: Host, newer: Path) -> None:
    own_host.stick = newer.parent
    adopt = f"/usr/local/bin/sealift adopt '{MEDIA}/install' 1.10.0"
    # Each time before: the new folder gets its name, that name is on the disk, the link gets its name, the launcher.
    for moment in ("rename:when=1", "fsync:when=1", "rename:when=1", "rename:when=2"):
        assert own_host.sh(adopt, killed_at=moment).stdout == "", moment
        assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.2.3", moment
    # And after: its name is there, but not yet on the disk.
    assert own_host.sh(adopt, killed_at="fsync:when=3").stdout == ""
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.10.0"
    assert "1.10.0" in ask(own_host, adopt)
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.10.0"
    assert own_host.sh("ls -A /usr/local/lib/sealift").stdout.split() == ["1.10.0", "1.2.3", "runtime"]
    assert len(own_host.sh("ls -A /usr/local/lib/sealift/runtime").stdout.split()) == 2


def test_the_host_takes_over_no_program_that_is_another_than_its_header_says(own_host: Host, newer: Path) -> None:
    own_host.stick = newer.parent
    done = own_host.sh(f"/usr/local/bin/sealift adopt '{MEDIA}/install' 2.10.0")
    assert (done.returncode, json.loads(done.stdout)["error"]["id"]) == (4, "program-damaged")
    assert not [path for path in own_host.written() if not (own_host.changes / path).is_dir()]
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.2.3"


def test_two_sites_have_programs_of_their_own(own_host: Host, newer: Path) -> None:
    own_host.stick = newer.parent
    two = {"SEALIFT_PREFIX": PREFIX}
    assert "1.10.0" in ask(own_host, f"sh '{MEDIA}/install' place", env=two)
    assert ask(own_host, f"'{PREFIX}/bin/sealift'", env=two)["version"] == "1.10.0"
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.2.3"


def test_copies_a_program_that_was_unpacked_elsewhere(one_host: Host) -> None:
    ask(one_host, f"sh '{MEDIA}/install' place", env={"SEALIFT_RUNTIME_DIR": "/root/elsewhere"})
    assert ask(one_host, "rm -rf /root/elsewhere; /usr/local/bin/sealift")["version"] == "1.2.3"


def test_takes_the_place_of_a_program_that_is_gone(own_host: Host) -> None:
    own_host.sh("rm -rf /usr/local/lib/sealift/runtime")
    assert ask(own_host, f"sh '{MEDIA}/install' place; ") is not None
    assert ask(own_host, "/usr/local/bin/sealift")["version"] == "1.2.3"


def test_keeps_what_somebody_else_calls_sealift(one_host: Host) -> None:
    one_host.sh("mkdir -p /usr/local/bin; printf 'echo mine\\n' >/usr/local/bin/sealift")
    done = one_host.install("place")
    assert (done.returncode, json.loads(done.stdout)["error"]["id"]) == (7, "runtime-unusable")
    assert (one_host.changes / "usr/local/bin/sealift").read_text() == "echo mine\n"


def test_says_who_may_put_it_there(one_host: Host) -> None:
    done = one_host.install("place", user=1000)
    assert (done.returncode, json.loads(done.stdout)["error"]["id"]) == (7, "permission")
    assert not (one_host.changes / "usr/local/bin/sealift").exists()
