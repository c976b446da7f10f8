"""Verification needs no network, no clock and no home; a host that trusts no identity never loads sigstore."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.keyless.instance import IDENTITY, ISSUER, Instance
from tests.keyless.judging import PAYLOAD, PIPELINE, judged, root_of

ROOT = Path(__file__).resolve().parents[2]
JUDGE = """
import json, socket, sys
from pathlib import Path

def forbidden(*arguments, **more):
    raise AssertionError("it opens a socket")

socket.socket.connect = socket.socket.connect_ex = socket.socket.sendto = forbidden
socket.getaddrinfo = socket.create_connection = forbidden
from installer.bundle.keyless import signer_of
from installer.bundle.signature import parse_signature
from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import SigstoreRoot

file, root, payload, identity, issuer = sys.argv[1:]
sign = parse_signature(Path(file).read_bytes(), file)
root = SigstoreRoot.read(json.loads(Path(root).read_text()), root)
print(signer_of(sign, Path(payload).read_bytes(), [Identity(identity, issuer, "x")], root).identity)
"""


@pytest.fixture
def files(instance: Instance, tmp_path: Path) -> list[str]:
    """Arguments for :data:`JUDGE`."""
    (tmp_path / "sign.json").write_bytes(instance.sign(PAYLOAD, timestamp=True).file())
    (tmp_path / "root.json").write_text(json.dumps(instance.trusted_root()))
    (tmp_path / "payload").write_bytes(PAYLOAD)
    return [*(str(tmp_path / name) for name in ("sign.json", "root.json", "payload")), IDENTITY, ISSUER]


def run(prefix: list[str], files: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONPATH": str(ROOT)}
    command = [*prefix, sys.executable, "-W", "error::ResourceWarning", "-c", JUDGE, *files]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def test_verifies_with_sockets_forbidden_and_without_a_home(files: list[str]) -> None:
    done = run([], files)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{IDENTITY}\n", "")


@pytest.mark.e2e
def test_verifies_in_a_network_namespace_without_any_interface(files: list[str]) -> None:
    """And no packet is tried: what strace sees is a library that asks, by binding a port, whether there is IPv6."""
    trace = Path(files[0]).with_name("trace")
    watched = ["strace", "-f", "-qq", "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-o", str(trace)]
    done = run(["unshare", "--net", *watched], files)
    assert (done.returncode, done.stdout) == (0, f"{IDENTITY}\n"), done.stderr
    assert trace.read_text() == ""


@pytest.mark.parametrize("year", [1970, 2038, 2100])
def test_verdict_does_not_depend_on_the_clock_of_the_host(
    instance: Instance, monkeypatch: pytest.MonkeyPatch, year: int
) -> None:
    """sigstore asks the clock whether an authority's period has begun; what it is given has no beginning."""
    from datetime import datetime, tzinfo

    import sigstore._utils

    asked: list[int] = []

    class Clock(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Clock:
            asked.append(year)
            return cls(year, 1, 19, 4, tzinfo=tz)

    monkeypatch.setattr(sigstore._utils, "datetime", Clock)
    for timestamp in (True, False):
        assert judged(instance.sign(PAYLOAD, timestamp=timestamp), root_of(instance)) == PIPELINE
    assert asked
