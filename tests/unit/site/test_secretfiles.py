"""Secrets: copied for the engine, kept from everybody else."""

from __future__ import annotations

from pathlib import Path

import pytest

from installer.errors import SealiftError
from installer.site.secretfiles import MAX_SECRET, check_secrets, copy_path, install_secrets, site_secrets
from installer.site.site import Site, parse_site


def site_with(folder: Path, **contents: bytes) -> Site:
    """A site whose secrets lie in ``folder``."""
    for name, content in contents.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    secrets = ", ".join(f"{name}: {{file: {folder / name}}}" for name in contents)
    return parse_site(f"{{site: hospital-7, secrets: {{{secrets}}}}}")


def mode(path: Path) -> int:
    """Permission bits."""
    return path.stat().st_mode & 0o7777


def refused(site: Site, name: str, state: Path) -> SealiftError:
    """The error that installing the secret ends with."""
    with pytest.raises(SealiftError) as error:
        install_secrets(site, "note-board", [name], state)
    assert error.value.id == "secret-missing"
    return error.value


def test_copies_readable_for_any_user_inside_a_folder_for_root_only(tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = install_secrets(site_with(tmp_path, db=b"s3cret"), "note-board", ["db"], state)

    copy = Path(done.files["db"].path)
    assert copy == copy_path(state, "note-board", "db")
    assert copy.read_bytes() == b"s3cret"
    assert mode(copy) == 0o444
    assert mode(copy.parent) == 0o700
    assert mode(copy.parent.parent) == 0o700
    assert done.warnings == ()


def test_fingerprint_follows_the_content_and_needs_the_sites_key(tmp_path: Path) -> None:
    site = site_with(tmp_path, db=b"one")
    state, elsewhere = tmp_path / "state", tmp_path / "elsewhere"

    first = install_secrets(site, "note-board", ["db"], state).files["db"]
    assert install_secrets(site, "note-board", ["db"], state).files["db"] == first
    assert install_secrets(site, "note-board", ["db"], elsewhere).files["db"].fingerprint != first.fingerprint

    changed = install_secrets(site_with(tmp_path, db=b"two"), "note-board", ["db"], state).files["db"]
    assert changed.fingerprint != first.fingerprint
    assert changed.path == first.path
    assert Path(changed.path).read_bytes() == b"two"
    assert mode(state / "secrets/.fingerprint-key") == 0o600


def test_refuses_a_secret_that_the_site_does_not_name(tmp_path: Path) -> None:
    error = refused(site_with(tmp_path), "db", tmp_path / "state")
    assert "db: {file:" in error.hint


def test_refuses_a_secret_whose_file_is_not_there(tmp_path: Path) -> None:
    site = site_with(tmp_path, db=b"x")
    (tmp_path / "db").unlink()
    assert str(tmp_path / "db") in refused(site, "db", tmp_path / "state").message


@pytest.mark.parametrize("content", [b"", b"x" * (MAX_SECRET + 1)])
def test_refuses_an_empty_or_huge_secret(tmp_path: Path, content: bytes) -> None:
    refused(site_with(tmp_path, db=content), "db", tmp_path / "state")
    assert not (tmp_path / "state/secrets/note-board").exists()


@pytest.mark.parametrize("name", ["../db", "a/b", ".", ".."])
def test_refuses_a_name_that_is_a_path(tmp_path: Path, name: str) -> None:
    (tmp_path / "x").write_bytes(b"x")
    site = parse_site(f"{{site: hospital-7, secrets: {{'{name}': {{file: {tmp_path / 'x'}}}}}}}")
    refused(site, name, tmp_path / "state")


def test_warns_of_a_secret_that_everybody_can_read(tmp_path: Path) -> None:
    site = site_with(tmp_path, db=b"x")
    (tmp_path / "db").chmod(0o644)

    (warning,) = check_secrets(site, "note-board", ["db"])
    assert "chmod 0600" in warning


def test_never_says_what_the_secret_is(tmp_path: Path) -> None:
    site = site_with(tmp_path, db=b"s3cret-content")
    assert "s3cret-content" not in repr(install_secrets(site, "note-board", ["db"], tmp_path / "state"))


def test_a_products_own_secret_wins_over_the_common_one(tmp_path: Path) -> None:
    for name in ("common", "own"):
        (tmp_path / name).write_bytes(name.encode())
        (tmp_path / name).chmod(0o600)
    site = parse_site(
        f"{{site: h, secrets: {{db: {{file: {tmp_path / 'common'}}}, note-board/db: {{file: {tmp_path / 'own'}}}}}}}"
    )
    done = install_secrets(site, "note-board", ["db"], tmp_path / "state")

    assert Path(done.files["db"].path).read_bytes() == b"own"
    assert site_secrets(site, "note-board") == ("db",)
