"""The keys that open encrypted media on a host: made 0600, refused when others can read them, shown by nobody."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from installer.bundle.age import MAX_KEY_FILE, MediaKey
from installer.cli import main
from installer.errors import SealiftError
from installer.trust.mediakey import add_keys, media_keys, new_key, read_keys

NOW = datetime(2026, 11, 28, 16, 0, tzinfo=UTC)


def refusal(call: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        call()
    return caught.value


def test_a_new_key_stands_before_the_old_ones_as_age_keygen_writes_it(tmp_path: Path) -> None:
    assert media_keys(tmp_path) == ()
    first, second = new_key(tmp_path, NOW), new_key(tmp_path, NOW)
    assert media_keys(tmp_path) == (second, first)
    place = tmp_path / "media.key"
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["media.key"]
    head = f"# created: 2026-11-28T16:00:00Z\n# public key: {second.recipient}\n{second.spelled()}\n"
    assert place.read_text().startswith(head)


def test_keys_made_elsewhere_are_added_once(tmp_path: Path) -> None:
    made = MediaKey.generate()
    (tmp_path / "elsewhere.txt").write_text(f"# mine\n{made.spelled()}\n")
    old = new_key(tmp_path / "state")
    for _ in range(2):
        assert add_keys(tmp_path / "state", tmp_path / "elsewhere.txt") == (made,)
    assert media_keys(tmp_path / "state") == (made, old)


def test_a_host_has_16_keys_at_most(tmp_path: Path) -> None:
    for _ in range(16):
        new_key(tmp_path)
    before = (tmp_path / "media.key").read_bytes()
    assert refusal(lambda: new_key(tmp_path)).id == "bad-option"
    assert (tmp_path / "media.key").read_bytes() == before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_refuses_keys_that_others_may_read(tmp_path: Path, mode: int) -> None:
    new_key(tmp_path)
    (tmp_path / "media.key").chmod(mode)
    error = refusal(lambda: media_keys(tmp_path))
    assert (error.id, error.exit_code) in (("media-key-open", 7), ("path-unsafe", 7)) and "chmod" in error.hint
    assert refusal(lambda: new_key(tmp_path)).id == error.id


def test_refuses_keys_that_belong_to_somebody_else(tmp_path: Path) -> None:
    new_key(tmp_path)
    os.chown(tmp_path / "media.key", 12345, -1)
    assert refusal(lambda: media_keys(tmp_path)).id == "path-unsafe"


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe", b"AGE-SECRET-KEY-1" + b"Q" * 58, b"#" * (MAX_KEY_FILE + 1)], ids=range(4)
)
def test_damaged_ones_are_named_and_never_replaced(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "media.key"
    place.write_bytes(content)
    place.chmod(0o600)
    error = refusal(lambda: media_keys(tmp_path))
    assert (error.id, error.exit_code) == ("media-key-damaged", 4) and error.hint
    assert refusal(lambda: new_key(tmp_path)).id == "media-key-damaged" and place.read_bytes() == content


def test_a_pipe_or_nothing_is_no_file_of_keys(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert refusal(lambda: read_keys(tmp_path / "pipe")).id == "media-key-damaged"
    assert refusal(lambda: read_keys(tmp_path / "gone")).id == "input-missing"


def test_verbs_print_recipients_and_nothing_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = ["--state-dir", str(tmp_path / "state")]
    assert main(["media-key", "show", *state]) == 0
    assert main(["media-key", "new", *state, "--json"]) == 0
    assert main(["media-key", "new", *state]) == 0
    said = capsys.readouterr()
    keys = media_keys(tmp_path / "state")
    assert said.out.splitlines()[-1] == keys[0].recipient
    assert main(["media-key", "show", "--json", *state]) == 0
    assert json.loads(capsys.readouterr().out) == {"recipients": [key.recipient for key in keys]}
    (tmp_path / "more").write_text(MediaKey.generate().spelled())
    assert main(["media-key", "add", str(tmp_path / "more"), *state]) == 0
    said_too = capsys.readouterr()
    assert "AGE-SECRET" not in said.out + said.err + said_too.out + said_too.err
    assert len(media_keys(tmp_path / "state")) == 3
