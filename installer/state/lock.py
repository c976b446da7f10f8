"""One run at a time per state dir: a kernel lock held by the working process itself, so a dead one leaves none."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from installer.errors import SealiftError

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


@contextmanager
def locked(state_dir: Path, doing: str) -> Iterator[None]:
    """Hold the lock of ``state_dir`` while the block runs. Raises ``locked`` (8): who, where, since when."""
    path = state_dir / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise SealiftError(
            "state-dir-unusable", f"cannot open {path}: {error.strerror}", hint="are you root, and is the disk writable"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = _how_to_wake(descriptor) or "wait until it ends, then run this again"
            raise SealiftError("locked", _holder(descriptor), hint=hint) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(_self(doing)).encode() + b"\n", 0)
        yield
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


def held_by(state_dir: Path) -> str | None:
    """Who is at work here, where since when; None where nobody is. Holds the lock shared for a moment only."""
    try:
        descriptor = os.open(state_dir / "lock", os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return _holder(descriptor)
    finally:
        os.close(descriptor)
    return None


def unlock(state_dir: Path) -> str:
    """Make sure that nothing stands in the way of the next run; says what a dead one left. Raises ``locked`` (8).

    The kernel lets go of the lock when its holder ends, so there is nothing to break; only a note may be left.
    """
    path = state_dir / "lock"
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return "nobody has ever held the lock"
    except OSError as error:
        raise SealiftError(
            "state-dir-unusable", f"cannot open {path}: {error.strerror}", hint="are you root"
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = _how_to_wake(descriptor) or "it lives, so its lock is not broken: wait, or end that process"
            raise SealiftError("locked", _holder(descriptor), hint=hint) from error
        left = os.pread(descriptor, 4096, 0)
        note = _holder(descriptor) if left else ""
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)
    return f"nobody holds the lock; who did is dead: {note.partition(': ')[2]}" if note else "nobody holds the lock"


def _self(doing: str) -> dict[str, object]:
    return {
        "who": user(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "boot": _BOOT_ID.read_text().strip() if _BOOT_ID.exists() else "",
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "doing": doing,
    }


def user() -> str:
    """Who works here, as far as it can be told."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in a minimal root filesystem
        return f"uid {os.getuid()}"


def _holder(descriptor: int) -> str:
    try:
        holder = json.loads(os.pread(descriptor, 4096, 0))
        return (
            f"another run holds the lock: {holder['doing']} by {holder['who']} on {holder['host']}, "
            f"process {holder['pid']} of boot {str(holder['boot'])[:8] or 'unknown'}, since {holder['since']}"
        )
    except (ValueError, KeyError, TypeError):
        return "another run holds the lock and has not said yet who it is"


def _how_to_wake(descriptor: int) -> str:
    """What to do about a holder that is asleep, as Ctrl-Z leaves it: nobody would ever see its end. Else empty."""
    try:
        pid = int(json.loads(os.pread(descriptor, 4096, 0))["pid"])
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (OSError, ValueError, KeyError, TypeError, IndexError):
        return ""
    if state not in ("T", "t"):
        return ""
    return f"it was stopped (Ctrl-Z), and what serves goes on serving: fg there, or kill -CONT {pid}, lets it go on"
