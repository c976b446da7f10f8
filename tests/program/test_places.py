"""Where the program unpacks itself, and what it says when it can't."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.program.hosts import MEDIA, Host

pytestmark = pytest.mark.e2e

NOEXEC = 'mkdir -p "$ROOT/{0}"; mount -t tmpfs -o noexec,mode=0755 none "$ROOT/{0}"'
READ_ONLY = 'mkdir -p "$ROOT/{0}"; mount -t tmpfs -o ro none "$ROOT/{0}"'
SMALL = 'mkdir -p "$ROOT/{0}"; mount -t tmpfs -o size=20m none "$ROOT/{0}"'


def version(host: Host, **options: Any) -> str:
    """What the stand-in says it is."""
    done = host.install(**options)
    assert done.returncode == 0, done.stderr
    return str(json.loads(done.stdout)["version"])


def refusal(host: Host, **options: Any) -> str:
    """The message of a refusal that asks for another place."""
    done = host.install(**options)
    assert (done.returncode, done.stdout) == (7, "")
    error, hint = done.stderr.splitlines()
    assert error.startswith("error: no place for the program: ")
    assert hint.startswith("hint: set SEALIFT_RUNTIME_DIR to a folder with ")
    return error


def test_refuses_a_folder_that_may_not_execute(host: Host) -> None:
    host.mounts = [NOEXEC.format("srv")]
    assert "/srv/x may not execute programs (mounted noexec)" in refusal(host, env={"SEALIFT_RUNTIME_DIR": "/srv/x"})
    done = host.sh(f"sh '{MEDIA}/install'; ls -A /srv/x", env={"SEALIFT_RUNTIME_DIR": "/srv/x"})
    assert done.stdout == ""


def test_refuses_a_folder_that_is_full(host: Host) -> None:
    host.mounts = [SMALL.format("srv")]
    assert "MB into /srv: " in refusal(host, env={"SEALIFT_RUNTIME_DIR": "/srv"})
    done = host.sh(f"sh '{MEDIA}/install'; ls -A /srv", env={"SEALIFT_RUNTIME_DIR": "/srv"})
    assert done.stdout == ""


def test_refuses_a_folder_that_cannot_be_written(host: Host) -> None:
    host.mounts = [READ_ONLY.format("srv")]
    assert "cannot write to /srv/it's" in refusal(host, env={"SEALIFT_RUNTIME_DIR": "/srv/it's"})


def test_says_so_in_json(bare_host: Host) -> None:
    bare_host.mounts = [READ_ONLY.format("srv")]
    done = bare_host.install("--json", env={"SEALIFT_RUNTIME_DIR": '/srv/"quoted\\"'})
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"], error["name"], error["id"]) == (7, 7, "host", "runtime-unusable")
    assert '/srv/"quoted\\"' in error["message"]


def test_takes_the_folder_that_is_asked_for(bare_host: Host) -> None:
    assert version(bare_host, env={"SEALIFT_RUNTIME_DIR": "/root/run time"}) == "1.2.3"
    assert (bare_host.changes / "root/run time").is_dir()
    assert not (bare_host.changes / "usr/local/lib").exists()


def test_goes_below_the_state_dir_where_the_system_is_read_only(bare_host: Host) -> None:
    bare_host.mounts = [READ_ONLY.format("usr/local"), NOEXEC.format("tmp")]
    assert version(bare_host) == "1.2.3"
    state = bare_host.changes / "var/lib/sealift"
    assert (state / "runtime").is_dir()
    assert state.stat().st_mode & 0o777 == 0o700


def test_needs_no_temporary_folder(bare_host: Host) -> None:
    bare_host.mounts = [READ_ONLY.format("tmp"), READ_ONLY.format("var/tmp")]
    assert version(bare_host) == "1.2.3"


def test_leaves_nothing_where_no_place_lasts(bare_host: Host) -> None:
    bare_host.mounts = [READ_ONLY.format(place) for place in ("usr/local", "var/lib", "root")]
    done = bare_host.sh(f"sh '{MEDIA}/install'; ls -A /tmp")
    answer, *left = done.stdout.splitlines()
    assert json.loads(answer)["version"] == "1.2.3"
    assert left == []


def test_keeps_out_of_a_home_that_is_somebody_elses(bare_host: Host) -> None:
    bare_host.mounts = [READ_ONLY.format(place) for place in ("usr/local", "var/lib")]
    assert version(bare_host, env={"HOME": "/home/courier"}) == "1.2.3"
    assert not (bare_host.changes / "home/courier/.cache").exists()


def test_people_without_rights_use_what_the_administrator_put_there(bare_host: Host) -> None:
    assert version(bare_host) == "1.2.3"
    before = bare_host.written()
    assert version(bare_host, user=1000) == "1.2.3"
    assert bare_host.written() == before


def test_an_interrupted_first_run_leaves_nothing(one_host: Host) -> None:
    # A stop reaches the shell while tar has unpacked one half.
    fake = """mkdir /tmp/bin; cd /tmp/bin
printf '#!/bin/sh\\nhead -c 9000000 | /bin/tar "$@"\\nkill -TERM $(cat /tmp/pid)\\n' >tar; chmod +x tar"""
    done = one_host.sh(f"{fake}; echo $$ >/tmp/pid; PATH=/tmp/bin:$PATH exec sh '{MEDIA}/install'")
    assert (done.returncode, done.stdout) == (130, "")
    assert not {path for path in one_host.written() if "runtime/" in path}
