"""A tool that travelled with a release runs on hosts whose libc is too old for it, or that have none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from installer.program.carried import argv_of, names_a_loader
from tests.program.hosts import MEDIA, Host


@pytest.mark.e2e
def test_compose_from_the_stick_runs_where_there_is_no_libc(
    bare_host: Host, standin: Path, compose_plugin: Path, tmp_path: Path
) -> None:
    bare_host.stick = tmp_path / "stick"
    bare_host.stick.mkdir()
    shutil.copy(standin, bare_host.stick / "install")
    shutil.copy(compose_plugin, bare_host.stick / "docker-compose")
    place = f"cp '{MEDIA}/docker-compose' /root/compose; chmod 700 /root/compose"
    done = bare_host.sh(f"{place}; sh '{MEDIA}/install' tool /root/compose version --short")
    answer = json.loads(done.stdout)
    assert (answer["code"], answer["err"]) == (0, "")
    assert answer["out"].startswith(("2.", "5."))


def test_knows_a_program_that_needs_a_loader() -> None:
    assert names_a_loader(Path("/usr/bin/env"))


@pytest.mark.e2e
def test_knows_a_program_that_needs_none() -> None:
    assert not names_a_loader(Path("/bin/busybox"))


@pytest.mark.parametrize(
    "content",
    [b"", b"#!/bin/sh\n", b"\x7fELF\x02\x01", b"\x7fELF\x02\x01" + bytes(80), b"\x7fELF\x02\x01" + b"\xff" * 80],
)
def test_starts_what_is_no_dynamic_program_as_it_is(content: bytes, tmp_path: Path) -> None:
    tool = tmp_path / "tool"
    tool.write_bytes(content)
    assert not names_a_loader(tool)
    assert argv_of(tool) == (str(tool),)
