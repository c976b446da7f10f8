"""The keys by which this host opens encrypted media: ``media.key`` in the state dir, a file as age-keygen writes it.

They open what was encrypted to their recipients, and say nothing about who is trusted. There may be several: an old
one still opens the media of yesterday. The secret half is printed by nothing here and stands on no command line.
"""

from __future__ import annotations

import os
import stat
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from installer.bundle.age import MAX_KEY_FILE, MAX_KEYS, MediaKey, damaged_keys, parse_keys
from installer.durable import make_folder, write_durably
from installer.errors import SealiftError
from installer.look.foothold import refuse_unsafe

NAME: Final = "media.key"


def media_keys(state_dir: Path) -> tuple[MediaKey, ...]:
    """The keys of this host, newest first; none where there is no file.

    Raises ``media-key-damaged`` (4), ``media-key-open``, ``path-unsafe``, ``permission`` (7).
    """
    place = state_dir / NAME
    if not place.exists():
        return ()
    refuse_unsafe(place)
    if stat.S_IMODE(place.stat().st_mode) & 0o077:
        raise SealiftError(
            "media-key-open",
            f"others on this host may read the media keys in {place}",
            hint=f"chmod 0600 {place}; who has read them can read every medium that was made for this host: "
            "sealift media-key new",
        )
    return read_keys(place)


def read_keys(path: Path) -> tuple[MediaKey, ...]:
    """The keys in a file of age identities. Raises ``media-key-damaged`` (4), ``input-missing`` (2), ``permission``."""
    try:
        # Never waits: an ordinary open of a pipe would.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(handle, "rb") as file:
            raw = file.read(MAX_KEY_FILE + 1) if stat.S_ISREG(os.fstat(handle).st_mode) else b""
    except PermissionError as error:
        raise SealiftError("permission", f"you may not read {path}", hint="run this as its owner") from error
    except OSError as error:
        raise SealiftError("input-missing", f"cannot read {path}: {error.strerror}", hint="check the path") from error
    if len(raw) > MAX_KEY_FILE:
        raise damaged_keys(str(path), f"it is larger than {MAX_KEY_FILE} bytes")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise damaged_keys(str(path), "it is not text") from None
    return parse_keys(text, str(path))


def new_key(state_dir: Path, now: datetime | None = None) -> MediaKey:
    """Make a key, put it before those that are there, and return it. Raises what :func:`media_keys` raises."""
    key = MediaKey.generate()
    _add(state_dir, [key], now)
    return key


def add_keys(state_dir: Path, path: Path, now: datetime | None = None) -> tuple[MediaKey, ...]:
    """Put the keys of a file before those that are there. Raises what :func:`read_keys` raises."""
    keys = read_keys(path)
    _add(state_dir, list(keys), now)
    return keys


def _add(state_dir: Path, keys: list[MediaKey], now: datetime | None) -> None:
    """Write all of them anew, under their recipients, as one step."""
    known = media_keys(state_dir)
    fresh = [key for key in keys if key not in known]
    if len(fresh) + len(known) > MAX_KEYS:
        raise SealiftError(
            "bad-option",
            f"a host has {MAX_KEYS} media keys at most",
            hint=f"take old ones out of {state_dir / NAME}: media made for them will not open any more",
        )
    place = make_folder(state_dir) / NAME
    moment = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    before = place.read_text(encoding="utf-8") if known else ""
    text = "".join(f"# created: {moment}\n# public key: {key.recipient}\n{key.spelled()}\n" for key in fresh)
    if fresh:
        write_durably(place, (text + before).encode(), 0o600)
