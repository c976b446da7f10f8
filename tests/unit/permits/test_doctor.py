"""The doctor names what would stop an upgrade, in the order in which one would meet it, and changes nothing."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from installer.bundle.digest import Digest
from installer.cli import main
from installer.errors import ERRORS, SealiftError
from installer.look.doctor import Visit, examine, first_stop
from installer.look.findings import WARNINGS, warning
from installer.look.inventory import Observed
from installer.look.status import trust_status
from installer.plan.plan import Plan
from installer.site.names import Colour
from installer.state.journal import Journal
from installer.state.lock import held_by, locked
from installer.state.state import ReleaseRef, SiteState, save_state
from installer.talk import Talk
from installer.trust.clock import Floor
from installer.trust.lost import note_use
from installer.trust.store import provision
from tests.contract.driver import file_host
from tests.unit.permits.places import Place
from tests.unit.permits.scenes import NOW
from tests.unit.trust.keys import EXPIRES, root

ROOT = root("release")


class Engine:
    """Stands for an engine that answers and runs nothing of ours."""

    def observe(self, product: str | None = None) -> Observed:
        return Observed((), ())

    def door(self) -> dict[str, Colour]:
        return {}


@contextmanager
def answering(*_: Any) -> Iterator[Any]:
    yield Engine()


@contextmanager
def gone(*_: Any) -> Iterator[Any]:
    raise SealiftError("engine-missing", "nobody answers", hint="start it")
    yield


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """A host that was told whom to trust, and has a site file."""
    state = tmp_path / "state"
    source = tmp_path / "root.json"
    source.write_bytes(ROOT)
    provision(state, source, str(Digest.of(ROOT)))
    (state / "site.yaml").write_text("site: hall\n")
    return state


def look(state_dir: Path, connect: Any = answering, now: datetime = NOW) -> dict[str, str]:
    """Ids and levels of what the doctor finds."""
    before = {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")}
    visit = Visit(state_dir, state_dir / "site.yaml", Talk(quiet=True), connect, lambda: now)
    found = examine(visit)
    assert {path: path.stat().st_mtime_ns for path in state_dir.rglob("*")} == before
    for item in found:
        assert item.level == "ok" or item.hint, item
        assert item.level != "warn" or item.id in WARNINGS
        assert item.level != "stop" or item.id in ERRORS
    stop = first_stop(found)
    assert (stop is not None) == any(item.level == "stop" for item in found)
    return {item.id: item.level for item in found}


def stops(found: dict[str, str]) -> list[str]:
    return [name for name, level in found.items() if level == "stop"]


def warns(found: dict[str, str]) -> list[str]:
    return [name for name, level in found.items() if level == "warn"]


def test_new_host_that_was_told_whom_to_trust_is_ready(state_dir: Path) -> None:
    found = look(state_dir)
    assert set(found.values()) == {"ok"}
    assert set(found) == {"state-dir", "trust", "clock", "site-file", "lock", "engine"}


def test_names_everything_that_is_missing_on_an_empty_host(tmp_path: Path) -> None:
    assert stops(look(tmp_path / "nothing", gone)) == ["no-trust-provisioned", "site-file-not-found"]


def test_names_an_engine_that_does_not_answer(state_dir: Path) -> None:
    assert stops(look(state_dir, gone)) == ["engine-missing"]


@pytest.mark.parametrize(
    ("before", "warned"), [(timedelta(days=200), []), (timedelta(days=100), ["root-expires-soon"])]
)
def test_warns_half_a_year_before_the_root_expires(state_dir: Path, before: timedelta, warned: list[str]) -> None:
    assert warns(look(state_dir, now=EXPIRES - before)) == warned


@pytest.mark.parametrize(
    ("year", "warned"),
    [(1970, ["clock-behind"]), (2038, ["root-expired", "clock-ahead"]), (2100, ["root-expired", "clock-ahead"])],
)
def test_warns_of_a_clock_that_cannot_be_right_and_stops_nothing(state_dir: Path, year: int, warned: list[str]) -> None:
    save_state(state_dir, SiteState(floor=Floor(at="2026-11-01T00:00:00Z", epoch=1, release="sha256:" + "0" * 64)))
    found = look(state_dir, now=datetime(year, 1, 20, tzinfo=UTC))
    assert (warns(found), stops(found)) == (warned, [])


def test_warns_of_a_copy_of_the_state_that_is_gone(state_dir: Path) -> None:
    save_state(state_dir, SiteState())
    assert "state" in look(state_dir), "after the first write there is only one"
    save_state(state_dir, SiteState())
    (state_dir / "state.b").write_text("torn")
    assert warns(look(state_dir)) == ["state-copy-damaged"]
    (state_dir / "state.a").write_text("torn")
    assert stops(look(state_dir)) == ["state-damaged"]


def test_names_a_state_that_was_lost(state_dir: Path) -> None:
    note_use(state_dir)
    assert stops(look(state_dir)) == ["state-lost"]


def test_names_who_is_at_work(state_dir: Path) -> None:
    assert held_by(state_dir) is None
    with locked(state_dir, "install board 1.0.0"):
        assert stops(look(state_dir)) == ["locked"]
        assert "install board 1.0.0" in (held_by(state_dir) or "")
    assert held_by(state_dir) is None and stops(look(state_dir)) == []


@pytest.mark.parametrize(("outcome", "level"), [("", "warn"), ("operator-needed", "stop"), ("done", None)])
def test_names_a_run_that_did_not_end(state_dir: Path, outcome: str, level: str | None) -> None:
    save_state(state_dir, SiteState())
    ref = ReleaseRef(product="p", version="1.0.0", digest="sha256:" + "0" * 64)
    plan = Plan(kind="install", product="p", strategy="blue-green", old=None, new=ref, colour="blue", steps=())
    journal = Journal(state_dir)
    journal.write("1", "begin", detail=plan.model_dump_json())
    if outcome:
        journal.write("1", "end", detail=outcome)
    found = look(state_dir)
    assert (found.get("run-unfinished") or found.get("operator-needed")) == level


def test_names_damaged_records(state_dir: Path) -> None:
    save_state(state_dir, SiteState())
    journal = Journal(state_dir)
    journal.write("1", "begin", detail="{}")
    journal.write("1", "end", detail="done")
    journal.path.write_bytes(journal.path.read_bytes().replace(b"begin", b"bogus", 1))
    (state_dir / "trust/root.json").write_text("{}")
    assert stops(look(state_dir)) == ["trust-damaged", "journal-damaged"]


@pytest.mark.parametrize("name", ["", "site.key", "secrets", "trust"])
def test_warns_where_others_can_look_in(state_dir: Path, name: str) -> None:
    (state_dir / name).chmod(0o755)
    assert warns(look(state_dir)) == ["state-dir-open"]


def test_ends_as_the_upgrade_would(state_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (state_dir / "site.yaml").write_text(f"site: hall\ntarget: {{kind: compose, engine: 'unix://{state_dir}/gone'}}\n")
    words = ["--state-dir", str(state_dir), "--site", str(state_dir / "site.yaml")]
    assert main(["doctor", "--json", *words]) == 7
    value = json.loads(capsys.readouterr().out)
    assert value["ready"] is False and value["error"]["id"] == "engine-missing"
    assert value["findings"][-1] == {
        "id": "engine-missing",
        "level": "stop",
        "code": 7,
        **{name: value["error"][name] for name in ("message", "hint")},
    }
    assert main(["doctor", *words]) == 7
    said = capsys.readouterr()
    assert "STOPS" in said.out and said.err.count("hint:") == 1


def test_status_says_when_the_root_expires(state_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert trust_status(tmp_path / "elsewhere") is None
    trust = trust_status(state_dir)
    assert trust is not None and trust.as_json()["expires"] == "2036-01-01T00:00:00Z"
    assert trust.days_left is not None and trust.days_left > 0 and trust.site is not None
    assert (trust.version, trust.findings) == (1, ())
    assert main(["status", "--state-dir", str(state_dir)]) == 0
    assert "until 2036-01-01" in capsys.readouterr().out


def test_status_of_a_host_that_lost_its_state_does_not_say_that_nothing_is_installed(
    state_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    note_use(state_dir)
    assert main(["status", "--json", "--state-dir", str(state_dir)]) == 4
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "state-lost"


def test_every_warning_has_an_id_that_is_documented_and_used() -> None:
    folder = Path(__file__).resolve().parents[3]
    page = (folder / "docs/errors.md").read_text()
    sources = "".join(path.read_text() for path in (folder / "installer").rglob("*.py") if path.name != "findings.py")
    for name, meaning in WARNINGS.items():
        assert f"| `{name}` | {meaning} |" in page
        assert f'"{name}"' in sources, name
    with pytest.raises(AssertionError):
        warning("no-such-thing", "", "")


def test_unwritable_state_dir_stops(state_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    allowed: Callable[..., bool] = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and allowed(path, mode))
    assert "state-dir-unusable" in stops(look(state_dir))


def look_at(place: Place) -> dict[str, str]:
    """Where the site file lies beside the state dir."""
    (place.state / "site.yaml").write_bytes((place.state.parent / "site.yaml").read_bytes())
    return look(place.state, file_host)


def test_looks_at_what_serves_as_an_upgrade_would(base: Place) -> None:
    found = look_at(base)
    assert set(found.values()) == {"ok"} and {"board", "state", "engine"} <= set(found)


def test_names_a_kept_release_that_was_altered(base: Place) -> None:
    (kept,) = (base.state / "releases/board").glob("1.1.0-*")
    (kept / "release.json").write_bytes((kept / "release.json").read_bytes().replace(b"board", b"bored", 1))
    assert stops(look_at(base)) == ["kept-release-damaged"]


def test_warns_of_a_disk_that_would_not_hold_a_release_that_is_all_new(
    base: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=10))
    found = look_at(base)
    assert (warns(found), stops(found)) == (["disk-low"], [])


def test_warns_of_a_secret_that_everybody_can_read_and_names_one_that_is_gone(base: Place, tmp_path: Path) -> None:
    secret = tmp_path / "db"
    secret.write_text("word")
    secret.chmod(0o644)
    with (base.state.parent / "site.yaml").open("a") as file:
        file.write(f"secrets: {{db: {{file: {secret}}}}}\n")
    assert warns(look_at(base)) == ["secret-open"]
    secret.unlink()
    assert stops(look_at(base)) == ["secret-missing"]
