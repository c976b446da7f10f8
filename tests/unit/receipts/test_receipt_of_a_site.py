"""``sealift receipt`` on a site kept in files: what gets in, what never does, and what a kill or a full disk leaves."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from installer.bundle.receipt import read_receipt, unpack_digests
from installer.errors import SealiftError
from installer.look.receipts import Made, make_receipt
from installer.state.lock import locked
from installer.state.state import load_state
from installer.trust.sitekey import site_fingerprint
from tests.contract import program
from tests.contract.driver import file_host, world_of
from tests.unit.bundler.faults import Faults, injected, killed_at
from tests.unit.permits.conftest import base, lasting
from tests.unit.permits.places import QUIET, Place

__all__ = ["base", "lasting"]


def receipt(place: Place, name: str = "hall.receipt") -> Made:
    site_file = place.state.parent / "site.yaml"
    return make_receipt(place.state, site_file, place.state.parent / name, QUIET, connect=file_host)


def files(place: Place) -> dict[str, bytes]:
    found = (path for path in place.state.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path): path.read_bytes() for path in found}


def test_tells_what_serves_what_is_kept_and_what_was_committed_at_most(base: Place) -> None:
    before = files(base)
    found = read_receipt(receipt(base).path.read_bytes()).receipt
    assert files(base) == before
    state = load_state(base.state)
    product = state.products["board"]
    (told,) = found.products
    assert told.current is not None and told.previous is not None and told.mark is not None
    assert product.current is not None and product.previous is not None
    assert (told.current.version, told.current.digest) == ("1.1.0", product.current.digest)
    assert (told.previous.version, told.previous.digest) == ("1.0.5", product.previous.digest)
    assert {one.version for one in told.kept} == {"1.0.5", "1.1.0"}
    assert (told.mark.version, told.mark.epoch) == ("1.1.0", 1)
    assert (found.site, found.channel, found.target, found.platform) == ("hall", "stable", "compose", "linux/amd64")
    assert (found.trust.version, found.trust.product) == (1, None) and found.trust.expires
    assert found.edge.haproxy is not None and state.edge is not None
    assert found.edge.haproxy.digest == state.edge.digest


def test_is_signed_by_the_key_that_trust_show_names(base: Place) -> None:
    made = receipt(base)
    here = site_fingerprint(base.state)
    assert made.signed.fingerprint == here and made.as_json()["key"] == str(here)
    assert read_receipt(made.path.read_bytes(), [("hall", here)]).known == "hall"


def test_says_nothing_of_the_site_file_but_three_words(base: Place) -> None:
    site_file = base.state.parent / "site.yaml"
    secret = base.state.parent / "secret"
    secret.write_text("hunter2")
    site_file.write_text(
        site_file.read_text() + f"values: {{smtp.host: mail.hall}}\nsecrets: {{db: {{file: {secret}}}}}\n"
        "peers: [10.9.8.7]\ncluster_id: h77\nenvironment: ward\n"
    )
    text = receipt(base).path.read_text()
    told = json.loads(text.splitlines()[0])
    assert "127.0.0.1" in site_file.read_text()
    for words in ("smtp", "mail", "hunter2", "10.9.8.7", "h77", "ward", "127.0.0.1", "web", str(base.state)):
        assert words not in json.dumps({key: item for key, item in told.items() if key not in ("held", "key")})


def test_lists_content_that_is_there_and_none_that_was_lost(base: Place) -> None:
    whole = receipt(base)
    assert whole.lost == () and all(whole.counts.values())
    held = unpack_digests(whole.signed.receipt.held.registry)
    blobs = world_of(base.state).root / "registry/blobs"
    assert held <= {path.name for path in blobs.iterdir()}
    gone = max(held)
    (blobs / gone).unlink()
    after = receipt(base)
    assert unpack_digests(after.signed.receipt.held.registry) == held - {gone}
    assert after.lost == ((gone,) if gone not in unpack_digests(after.signed.receipt.held.archives) else ())


def test_leaves_out_a_kept_release_and_an_archive_that_are_damaged(base: Place) -> None:
    state = load_state(base.state)
    product = state.products["board"]
    assert product.previous is not None and state.edge is not None and state.registry is not None
    before = receipt(base).signed.receipt
    (base.state / "releases" / product.previous.folder / "files/CHANGELOG.md").write_text("other news")
    archive = Path(state.edge.archive)
    archive.write_bytes(archive.read_bytes()[:-1] + b"x")
    after = receipt(base).signed.receipt
    assert {one.version for one in after.products[0].kept} == {"1.1.0"}
    assert after.products[0].previous == before.products[0].previous  # what a rollback would try is the state's word
    assert after.edge.haproxy is None and after.edge.registry == before.edge.registry
    for name in ("registry", "archives", "files"):  # the program that both releases brought is the same
        assert unpack_digests(getattr(after.held, name)) < unpack_digests(getattr(before.held, name)), name


def test_of_a_site_that_runs_nothing_yet_is_a_receipt_too(tmp_path: Path) -> None:
    from installer.trust.store import provision
    from tests.contract.editions import Vendor

    place = Place(program.settle(tmp_path / "site"), Vendor(tmp_path / "vendor"))
    provision(place.state, *place.vendor.root())
    found = receipt(place).signed.receipt
    assert found.products == () and found.held.registry == ""


def test_refuses_while_another_run_works_and_where_the_state_is_lost(base: Place) -> None:
    with locked(base.state, "test"), pytest.raises(SealiftError) as caught:
        receipt(base)
    assert caught.value.id == "locked"
    for path in base.state.glob("state.?"):
        path.unlink()
    with pytest.raises(SealiftError) as caught:
        receipt(base)
    assert caught.value.id == "state-lost" and not (base.state.parent / "hall.receipt").exists()


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, None])
def test_whatever_fails_a_receipt_is_whole_or_not_there(base: Place, error: int | None) -> None:
    folder = base.state.parent
    out = folder / "hall.receipt"

    def whole(sites: Callable[[], object]) -> None:
        if out.exists():
            read_receipt(out.read_bytes())
        sites()
        assert read_receipt(out.read_bytes()).receipt.products
        assert not list(folder.glob(".hall.receipt*"))

    for again in (False, True):
        out.unlink(missing_ok=True)
        if again:
            receipt(base)
        with injected(Faults()) as counted:
            receipt(base)
        assert {"create", "fsync", "rename"} <= set(counted.calls)
        for number in range(1, counted.count + 1):
            if not again:
                out.unlink(missing_ok=True)
            if error is None:
                assert killed_at(number, lambda: receipt(base))
            else:
                with injected(Faults(number, error)):
                    try:
                        receipt(base)
                    except (OSError, SealiftError):
                        assert again == out.exists() or counted.calls[number - 1] == "fsync"
            whole(lambda: receipt(base))


def test_comes_from_the_command_line_too(base: Place, capsys: pytest.CaptureFixture[str]) -> None:
    out = base.state.parent / "by-hand.receipt"
    assert program.main(["--json", "receipt", str(base.state), "--out", str(out)]) == 0
    value = json.loads(capsys.readouterr().out)
    assert value["receipt"] == str(out) and value["site"] == "hall" and value["lost"] == []
    assert value["size"] == len(out.read_bytes()) and set(value["held"]) == {"registry", "archives", "files", "brought"}
    shutil.rmtree(base.state / "lock", ignore_errors=True)
