"""The host's roots: provisioned once, walked, kept, and never replaced by what somebody put there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from installer import cli, durable
from installer.bundle.digest import Digest
from installer.errors import ExitCode, SealiftError
from installer.trust import store as truststore
from installer.trust.rootmedia import read_roots
from installer.trust.store import first_fingerprint, load_policy, provision, update
from tests.unit.trust.keys import PAYLOAD, key, signed
from tests.unit.trust.roots import names, root
from tests.vectors.forge import RELEASE, Forge, root_of

CHAIN = {1: root(1, "r1"), 2: root(2, "r2", epoch=2), 3: root(3, "r3", epoch=2)}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A host that was told of version 1."""
    return provisioned(tmp_path, CHAIN[1])


def provisioned(folder: Path, raw: bytes) -> Path:
    source = folder / "root.json"
    source.write_bytes(raw)
    provision(folder / "state", source, str(Digest.of(raw)))
    return folder / "state"


def refusal(do: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        do()
    return caught.value


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(capsys: pytest.CaptureFixture[str], *words: str | Path) -> tuple[int, dict[str, Any]]:
    """``sealift`` with ``--json``."""
    code = cli.main([*map(str, words), "--json"])
    return code, json.loads(capsys.readouterr().out)


# --- provisioning --------------------------------------------------------------------------------------------------


def test_trusts_nothing_on_first_use(tmp_path: Path) -> None:
    error = refusal(lambda: load_policy(tmp_path))
    assert error.id == "no-trust-provisioned" and "by another way than this media" in error.hint


def test_refuses_a_root_whose_fingerprint_is_not_the_one_on_paper(tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(CHAIN[1])
    other = str(Digest.of(CHAIN[2]))
    assert refusal(lambda: provision(tmp_path / "state", tmp_path / "root.json", other)).id == "fingerprint-mismatch"
    assert not (tmp_path / "state").exists()


def test_refuses_a_second_root_where_one_is_trusted_even_a_newer_one(state: Path, tmp_path: Path) -> None:
    (tmp_path / "root.json").write_bytes(CHAIN[2])
    before = files(state)
    error = refusal(lambda: provision(state, tmp_path / "root.json", str(Digest.of(CHAIN[2]))))
    assert error.id == "trust-exists" and "sealift trust update" in error.hint
    assert files(state) == before


def test_provisioning_the_same_root_again_changes_nothing_but_what_follows_from_it(state: Path, tmp_path: Path) -> None:
    before = files(state)
    provision(state, tmp_path / "root.json", str(Digest.of(CHAIN[1])))
    assert files(state) == before


# --- updating ------------------------------------------------------------------------------------------------------


def test_walks_to_the_newest_root_and_keeps_every_one(state: Path) -> None:
    policy = update(state, CHAIN)
    assert (policy.root_version, policy.epoch) == (3, 2)
    assert names(load_policy(state), "r3") == {"r3"}
    kept = {path.name: path.read_bytes() for path in (state / "trust/roots").iterdir()}
    assert kept == {f"{version}.root.json": raw for version, raw in CHAIN.items()}
    assert first_fingerprint(state) == str(Digest.of(CHAIN[1]))


def test_host_that_restarts_still_says_who_was_revoked(state: Path) -> None:
    update(state, CHAIN)
    error = refusal(lambda: load_policy(state).judge("release", PAYLOAD, signed("r1")))
    assert error.id == "key-revoked" and "root version 2 revoked" in error.message


@pytest.mark.parametrize("carried", [{}, {1: b"unread"}, {1: CHAIN[1]}])
def test_update_without_anything_newer_writes_nothing(state: Path, carried: dict[int, bytes]) -> None:
    before = files(state)
    assert update(state, carried).root_version == 1
    assert files(state) == before


@pytest.mark.parametrize(
    ("carried", "error"),
    [
        ({3: CHAIN[3]}, "root-skipped"),
        ({2: root(2, holders=("mallory",))}, "root-chain"),
        ({2: CHAIN[2], 3: root(3, holders=("mallory",))}, "root-chain"),
        ({2: root(2, product="bank")}, "root-product"),
        ({2: CHAIN[2], 3: root(3, epoch=1)}, "root-epoch"),
        ({2: b"{}"}, "root-malformed"),
    ],
)
def test_refused_update_changes_nothing(state: Path, carried: dict[int, bytes], error: str) -> None:
    before = files(state)
    assert refusal(lambda: update(state, carried)).id == error
    assert files(state) == before


def test_never_goes_back_to_an_older_root(state: Path) -> None:
    update(state, CHAIN)
    assert update(state, {1: CHAIN[1], 2: CHAIN[2]}).root_version == 3


def test_refuses_another_root_of_the_version_that_is_in_force(state: Path) -> None:
    """A second version 2, signed by a stolen root key, comes too late: it is passed over."""
    update(state, {2: CHAIN[2]})
    assert update(state, {2: root(2, "mallory")}).raw == CHAIN[2]


def test_host_that_an_older_sealift_provisioned_gets_the_rest_with_the_next_root(state: Path) -> None:
    shutil.rmtree(state / "trust/roots")
    (state / "trust/first").unlink()
    assert load_policy(state).root_version == 1
    update(state, CHAIN)
    assert load_policy(state).root_version == 3 and first_fingerprint(state) == str(Digest.of(CHAIN[1]))


# --- somebody was here ---------------------------------------------------------------------------------------------


def test_notices_a_root_that_somebody_put_in_place_of_the_current_one(state: Path) -> None:
    update(state, CHAIN)
    (state / "trust/root.json").write_bytes(root(3, "mallory", holders=("mallory",)))
    error = refusal(lambda: load_policy(state))
    assert error.id == "trust-damaged" and "not the root that the kept ones lead to" in error.message


def test_notices_an_older_root_put_back_beside_a_chain_that_leads_further_only_by_the_marks(state: Path) -> None:
    """A whole older chain is what it was then: the epoch of the marks stops it (`trust-went-back`), not the store."""
    update(state, CHAIN)
    (state / "trust/root.json").write_bytes(CHAIN[2])
    assert load_policy(state).root_version == 2


@pytest.mark.parametrize("version", [1, 2, 3])
def test_notices_a_kept_root_that_was_altered_or_taken_away(state: Path, version: int) -> None:
    update(state, CHAIN)
    place = state / f"trust/roots/{version}.root.json"
    for damage in (b"{}", CHAIN[version].replace(b"shop", b"shoq"), None):
        if damage is None:
            place.unlink()
        else:
            place.write_bytes(damage)
        assert refusal(lambda: load_policy(state)).id == "trust-damaged"


def test_notices_a_first_fingerprint_that_is_another(state: Path) -> None:
    (state / "trust/first").write_text("sha256:" + "0" * 64 + "\n")
    assert refusal(lambda: load_policy(state)).id == "trust-damaged"


def test_every_flipped_byte_of_the_root_in_force_is_noticed(state: Path) -> None:
    update(state, CHAIN)
    place = state / "trust/root.json"
    raw = place.read_bytes()
    for at in range(len(raw)):
        place.write_bytes(raw[:at] + bytes([raw[at] ^ 0x20]) + raw[at + 1 :])
        assert refusal(lambda: load_policy(state)).id == "trust-damaged", at


# --- power ---------------------------------------------------------------------------------------------------------


class Cut(Exception):
    """The power went."""


@pytest.mark.parametrize("when", range(4))
@pytest.mark.parametrize("after", [False, True])
def test_update_that_is_killed_leaves_the_old_root_or_the_new_one_and_goes_on(
    state: Path, monkeypatch: pytest.MonkeyPatch, when: int, after: bool
) -> None:
    """Before and after each durable write: three (two roots, the pointer), and none is left out."""
    calls = 0

    def cut(path: Path, data: bytes, mode: int = 0o600) -> None:
        nonlocal calls
        calls += 1
        if calls - 1 == when and not after:
            raise Cut
        durable.write_durably(path, data, mode)
        if calls - 1 == when:
            raise Cut

    monkeypatch.setattr(truststore, "write_durably", cut)
    if when < 3:
        with pytest.raises(Cut):
            update(state, CHAIN)
    else:
        update(state, CHAIN)
        assert calls == 3
    monkeypatch.undo()
    assert load_policy(state).root_version == (3 if when >= 2 + (not after) else 1)
    assert update(state, CHAIN).root_version == 3


# --- the command ---------------------------------------------------------------------------------------------------


def written(folder: Path, roots: dict[int, bytes]) -> Path:
    folder.mkdir(parents=True)
    for version, raw in roots.items():
        (folder / f"{version}.root.json").write_bytes(raw)
    return folder


def test_update_takes_files_folders_media_and_bundles(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = root_of(RELEASE)
    newer = {2: root_of(RELEASE, version=2), 3: root_of(RELEASE, version=3)}
    media = written(tmp_path / "media/trust", newer).parent
    stick = tmp_path / "stick"
    stick.mkdir()
    bundle = Forge(roots=newer).write(stick)
    written(tmp_path / "folder", newer)
    loose = [tmp_path / "folder" / f"{version}.root.json" for version in newer]
    for number, paths in enumerate(([tmp_path / "folder"], [media], [stick], [bundle], loose, [*loose, stick])):
        place = tmp_path / str(number)
        place.mkdir()
        state = provisioned(place, first)
        code, value = run(capsys, "--state-dir", state, "trust", "update", *paths)
        assert (code, value["result"], value["previous"], value["version"]) == (0, "updated", 1, 3), paths
        assert value["fingerprint"] == str(Digest.of(newer[3]))
        code, value = run(capsys, "--state-dir", state, "trust", "update", *paths)
        assert (code, value["result"], value["version"]) == (0, "unchanged", 3)


def test_update_names_what_holds_no_root(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "text").write_text("hello")
    for path, error in (("empty", "input-missing"), ("none", "input-missing"), ("text", "json-invalid")):
        code, value = run(capsys, "--state-dir", state, "trust", "update", tmp_path / path)
        assert value["error"]["id"] == error and code == value["error"]["code"] and value["error"]["hint"]


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"[]", "root-malformed"),
        (b'{"signed":{}}', "root-malformed"),
        (b'{"signed":{"version":true}}', "root-malformed"),
        (b'{"signed":{"version":"2"}}', "root-malformed"),
        (b'{"signed":{"version":2,"version":3}}', "json-duplicate-key"),
        (b" " * (512 * 1024 + 1), "root-too-large"),
    ],
)
def test_update_refuses_a_file_that_claims_no_version(tmp_path: Path, raw: bytes, error: str) -> None:
    (tmp_path / "2.root.json").write_bytes(raw)
    assert refusal(lambda: read_roots([tmp_path])).id == error


def test_update_refuses_two_different_roots_of_one_version(state: Path, tmp_path: Path) -> None:
    one = written(tmp_path / "one", {2: CHAIN[2]})
    two = written(tmp_path / "two", {2: root(2, "other")})
    error = refusal(lambda: read_roots([one, two]))
    assert (error.id, error.exit_code) == ("roots-differ", ExitCode.UNTRUSTED)
    assert str(one) in error.message and str(two) in error.message
    assert read_roots([one, one]) == {2: CHAIN[2]}


def test_update_waits_for_no_pipe(state: Path, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "2.root.json")
    assert refusal(lambda: read_roots([tmp_path / "2.root.json"])).id == "media-not-a-file"


def test_update_refuses_while_another_run_holds_the_lock(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from installer.state.lock import locked

    folder = written(state.parent / "new", {2: CHAIN[2]})
    with locked(state, "install"):
        code, value = run(capsys, "--state-dir", state, "trust", "update", folder)
    assert (code, value["error"]["id"]) == (8, "locked")


def test_show_names_version_epoch_expiry_and_everybody(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    update(state, CHAIN)
    code, value = run(capsys, "--state-dir", state, "trust", "show")
    assert code == 0
    assert (value["version"], value["epoch"], value["expires"]) == (3, 2, "2036-01-01T00:00:00Z")
    assert value["first"] == str(Digest.of(CHAIN[1])) and value["fingerprint"] == str(Digest.of(CHAIN[3]))
    assert value["roles"]["release"] == {"threshold": 1, "keys": [str(key("r3").fingerprint)]}
    assert value["roles"]["root"]["keys"] == [str(key("root").fingerprint)]
    assert 0 < value["days_left"] < 3660


def test_verify_walks_in_memory_and_writes_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = provisioned(tmp_path, root_of(RELEASE))
    before = files(state)
    bundle = Forge(roots={2: root_of(RELEASE, version=2, epoch=5)}).write(tmp_path)
    code, value = run(capsys, "--state-dir", state, "verify", bundle)
    assert (code, value["root"]) == (0, {"version": 2, "epoch": 5})
    assert files(state) == before
