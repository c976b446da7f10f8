"""The program as it is shipped answers on the barest host, and nothing that it imports is missing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import installer
from tests.program.hosts import Host, root_filesystem

pytestmark = pytest.mark.e2e


@pytest.fixture
def real_host(wide_cache: Path, scratch: Path, real_program: Path) -> Host:
    """The barest host, with the program as it is shipped; test_install_on_hosts.py has the others."""
    return Host(root_filesystem("busybox-alone", wide_cache), scratch, real_program.parent)


def test_answers_where_there_is_no_libc(real_host: Host) -> None:
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
