"""The program as it is shipped answers on every kind of host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import installer
from tests.program.hosts import Host

pytestmark = pytest.mark.e2e


@pytest.fixture
def real_host(any_root: Path, scratch: Path, real_program: Path) -> Host:
    """Each kind of host in turn, with the program as it is shipped."""
    return Host(any_root, scratch, real_program.parent)


def test_answers_on_every_kind_of_host(real_host: Host) -> None:
    version = real_host.install("--version")
    assert (version.returncode, installer.__version__ in version.stdout) == (0, True), version.stderr
    text = real_host.install("--help")
    assert text.returncode == 0, text.stderr
    for verb in ("verify", "status", "rollback", "trust"):
        assert verb in text.stdout
    refused = real_host.install("--no-such-option")
    assert (refused.returncode, refused.stdout) == (2, "")
    status = real_host.install("status --json")
    answer = json.loads(status.stdout)
    assert "products" in answer or answer["error"]["code"] == status.returncode != 1


def test_every_module_of_ours_finds_what_it_imports(used_host: Host) -> None:
    done = used_host.install("modules")
    assert done.returncode == 0, done.stderr
    assert "installer.bundle.release" in json.loads(done.stdout)
