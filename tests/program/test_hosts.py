"""The program runs where there is no Python, no network and perhaps no libc, from media that may not execute."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from tests.program.hosts import MEDIA, Host, root_filesystem

pytestmark = pytest.mark.e2e

HOSTILE = {
    "PYTHONPATH": "/media",
    "PYTHONHOME": "/nowhere",
    "PYTHONSTARTUP": "/nowhere/startup.py",
    "LD_LIBRARY_PATH": "/lib:/usr/lib",
    "OPENSSL_CONF": "/etc/hostname-that-is-no-configuration",
    "GZIP": "--best --verbose",
    "TAR_OPTIONS": "--verbose",
    "CDPATH": "/usr:/etc",
    "LANG": "de_DE.ISO-8859-1",
}


def answer(host: Host, arguments: str, **options: Any) -> Any:
    """What the stand-in answers."""
    done = host.install(arguments, **options)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_runs_from_media_that_may_not_execute_and_again_from_the_host(host: Host) -> None:
    started = time.monotonic()
    first = answer(host, "")
    between = time.monotonic()
    second = answer(host, "")
    ended = time.monotonic()
    assert first["version"] == "1.2.3"
    assert second == first
    # The rest of a first run is the unpacking: the second must not do it again.
    assert ended - between < between - started


def test_carries_every_library(used_host: Host) -> None:
    assert "cryptography.x509" in answer(used_host, "libraries")


def test_lets_children_run_with_what_the_host_has(used_host: Host) -> None:
    child = answer(used_host, "child /bin/sh -c 'echo \"${LD_LIBRARY_PATH-none} ${PYTHONHOME-none}\"; true'")
    assert child == {"code": 0, "out": "none none\n", "err": ""}


def test_leaves_one_folder_and_nothing_else(host: Host) -> None:
    answer(host, "")
    top = {path for path in host.written() if path.count("/") <= 5}
    runtime = sorted(path for path in top if path.startswith("usr/local/lib/sealift/runtime/"))[0]
    allowed = ("usr", "usr/local", "usr/local/lib", "usr/local/lib/sealift", "usr/local/lib/sealift/runtime")
    assert {path for path in host.written() if not path.startswith(runtime)} <= set(allowed)


def test_two_first_runs_at_once_both_answer(host: Host) -> None:
    one = f"sh '{MEDIA}/install'"
    done = host.sh(f"({one} >/tmp/1; echo $? >/tmp/1c) & {one} >/tmp/2; echo $? >/tmp/2c; wait")
    assert done.stderr == ""
    answers = [(host.changes / "tmp" / name).read_text() for name in ("1", "2", "1c", "2c")]
    assert answers[0] == answers[1] and json.loads(answers[0])["version"] == "1.2.3"
    assert answers[2:] == ["0\n", "0\n"]
    assert len(list((host.changes / "usr/local/lib/sealift/runtime").iterdir())) == 1


def test_is_not_moved_by_what_the_host_sets(host: Host) -> None:
    assert answer(host, "", env=HOSTILE)["version"] == "1.2.3"
    world = answer(host, "world", env=HOSTILE)
    assert all("dist-packages" in path or "python3" in path for path in world["path"])
    assert answer(host, "text", env=HOSTILE) == {"encoding": "utf-8", "files": "utf-8", "ä": "ü"}


def test_a_library_of_the_host_is_never_loaded_into_it(used_host: Host) -> None:
    done = used_host.install("world", env={"LD_PRELOAD": "/nowhere/library.so", "LD_AUDIT": "/nowhere/audit.so"})
    world = json.loads(done.stdout)
    assert not {name for name in world["env"] if name.startswith("LD_")}


def test_runs_in_bash_as_well(wide_cache: Path, scratch: Path, standin: Path) -> None:
    host = Host(root_filesystem("bookworm", wide_cache), scratch, standin.parent)
    for shell in ("bash", "bash --posix"):
        done = host.sh(f"rm -rf /usr/local/lib/sealift; {shell} '{MEDIA}/install'")
        assert json.loads(done.stdout)["version"] == "1.2.3", done.stderr


def test_says_how_to_start_it_when_read_from_a_pipe(used_host: Host) -> None:
    done = used_host.sh(f"sh <'{MEDIA}/install'")
    assert done.returncode == 7
    assert done.stderr.endswith("hint: start it by its path, such as: sh /media/usb/install\n")


def test_passes_on_arguments_place_and_media(used_host: Host) -> None:
    done = used_host.sh(f"cd /var/lib && sh '../../{MEDIA}/install' world 'a b' '' '*' --json")
    world = json.loads(done.stdout)
    assert world["argv"] == ["a b", "", "*", "--json"]
    assert world["cwd"] == "/var/lib"
    assert world["env"]["SEALIFT_MEDIA"] == MEDIA
    assert world["env"]["LANG"] == "C.UTF-8"
    assert world["name"] == "install"
    assert not {name for name in world["env"] if name.startswith("LD_")}


def test_a_person_without_rights_gets_an_answer(host: Host) -> None:
    assert answer(host, "", user=1000)["version"] == "1.2.3"
    assert (host.changes / "home/courier/.cache/sealift/runtime").is_dir()
    assert not (host.changes / "usr/local/lib/sealift").exists()


def test_runs_as_a_file_of_its_own(host: Host) -> None:
    done = host.sh(f"cd /root && cp '{MEDIA}/install' 'my install' && chmod +x 'my install' && './my install' world")
    assert json.loads(done.stdout)["env"]["SEALIFT_MEDIA"] == "/root"


def test_a_flipped_byte_is_refused_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    whole = (host.stick / "install").read_bytes()
    for position in (len(whole) - 100_000, len(whole) // 2, whole.index(GZIP) + 20):
        host.stick = stick_with(flipped(whole, position), tmp_path)
        refuses_as_damaged(host)


def test_a_file_that_ends_early_is_refused_and_leaves_nothing(host: Host, tmp_path: Path) -> None:
    whole = (host.stick / "install").read_bytes()
    for length in (len(whole) - 1, whole.rindex(GZIP), len(whole) // 3, whole.index(GZIP) + 1):
        host.stick = stick_with(whole[:length], tmp_path)
        refuses_as_damaged(host)


def test_needs_few_tools_and_finds_damage_without_sha256sum(host: Host, tmp_path: Path) -> None:
    whole = (host.stick / "install").read_bytes()
    host.mounts = [FEW_TOOLS]
    few_tools = {"PATH": "/tmp/bin"}
    if "busybox-alone" not in host.root.name:  # that shell has all tools in itself
        assert host.sh("command -v sha256sum", env=few_tools).returncode != 0
    for damaged in (flipped(whole, len(whole) // 2), whole[: whole.rindex(GZIP)], whole[:-1]):
        host.stick = stick_with(damaged, tmp_path)
        done = host.install(env=few_tools)
        assert (done.returncode, "damaged or incomplete" in done.stderr) == (4, True), done.stderr
        assert not {path for path in host.written() if "runtime/" in path}
    host.stick = stick_with(whole, tmp_path)
    assert answer(host, "", env=few_tools)["version"] == "1.2.3"


GZIP = bytes.fromhex("1f8b080000000000")
FEW_TOOLS = """mkdir -p "$ROOT/tmp/bin"
for tool in sh tail gzip tar mkdir mv rm mktemp; do
  printf '#!/bin/sh\\nPATH=/usr/bin:/bin exec %s "$@"\\n' $tool >"$ROOT/tmp/bin/$tool"
  chmod +x "$ROOT/tmp/bin/$tool"
done"""


def stick_with(program: bytes, folder: Path) -> Path:
    """A stick with this program on it."""
    stick = folder / "stick"
    stick.mkdir(exist_ok=True)
    (stick / "install").write_bytes(program)
    return stick


def flipped(content: bytes, position: int) -> bytes:
    """The same bytes but for one bit."""
    changed = bytearray(content)
    changed[position] ^= 0x10
    return bytes(changed)


def refuses_as_damaged(host: Host) -> None:
    """Exit code 4, a hint, one object with --json, and not one file written."""
    done = host.install("")
    assert done.returncode == 4
    assert done.stdout == ""
    assert done.stderr.startswith("error: ") and "damaged or incomplete" in done.stderr and "\nhint: " in done.stderr
    done = host.install("--json")
    assert done.returncode == 4
    error = json.loads(done.stdout)["error"]
    assert (error["code"], error["name"], error["id"]) == (4, "corrupt", "program-damaged")
    assert host.written() == set()
