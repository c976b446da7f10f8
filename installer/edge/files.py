"""The edge's folder: what HAProxy reads, written so that it is whole or absent, readable by nobody else.

::

    haproxy.cfg        the configuration           maps/colour.map   product -> colour, one line each
    candidate.cfg      one that is being checked   tls/*.pem         certificate and key, named by their content
    run/               HAProxy's sockets; the only place it can write to
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from installer.durable import tidy, write_durably
from installer.edge.config import PemName
from installer.errors import SealiftError
from installer.site.names import COLOURS, Colour

EDGE_USER: Final = 10001
"""User and group that HAProxy runs as, inside and outside its container."""
CONFIG: Final = "haproxy.cfg"
CANDIDATE: Final = "candidate.cfg"
COLOUR_MAP: Final = "maps/colour.map"
_FOLDERS: Final = (".", "run", "maps", "tls")


def ensure_folder(folder: Path) -> None:
    """Make the folder, or mend its owner and modes: all of it belongs to ``EDGE_USER``, nobody else reads it.

    An empty colour map is made where there is none: nothing serves until a switch. Raises ``permission`` (7).
    """
    with _translated(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name in _FOLDERS:
            path = folder / name
            path.mkdir(exist_ok=True)
            _own(path)
        if not (folder / COLOUR_MAP).exists():
            write_file(folder, COLOUR_MAP, b"")


def _own(path: Path) -> None:
    # Through a descriptor: HAProxy's user owns the parent, so a name could be a link by the time it is used.
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, EDGE_USER, EDGE_USER)
        os.fchmod(descriptor, 0o700)
    finally:
        os.close(descriptor)


def write_file(folder: Path, name: str, content: bytes) -> None:
    """Put a file in place, mode 0600, durably: afterwards either all of it stands there or what was there before.

    Raises ``permission`` or ``disk-full`` (7).
    """
    with _translated(folder / name):
        write_durably(folder / name, content, 0o600, uid=EDGE_USER, gid=EDGE_USER)


def tidy_edge(folder: Path) -> None:
    """Remove what a killed run left half-way."""
    with _translated(folder):
        (folder / CANDIDATE).unlink(missing_ok=True)
        tidy(*(folder / name for name in _FOLDERS))


def read_config(folder: Path) -> str | None:
    """The text of the configuration in place, or None before the first. Raises ``permission`` (7)."""
    with _translated(folder / CONFIG):
        try:
            return (folder / CONFIG).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None


def read_colours(folder: Path) -> dict[str, Colour]:
    """The colour map on disk. Raises ``edge-failed`` (9) where it does not read, ``permission`` (7)."""
    with _translated(folder / COLOUR_MAP):
        try:
            return parse_colours((folder / COLOUR_MAP).read_text(encoding="ascii").splitlines())
        except FileNotFoundError:
            return {}
        except UnicodeDecodeError as error:
            raise _bad_map("bytes that are no text") from error


def parse_colours(lines: list[str]) -> dict[str, Colour]:
    """Product and colour of lines such as ``lan-chat green``. Raises ``edge-failed`` (9)."""
    found: dict[str, Colour] = {}
    for line in filter(None, (line.strip() for line in lines)):
        product, _, value = line.partition(" ")
        colour = next((colour for colour in COLOURS if colour == value), None)
        if colour is None or product in found:
            raise _bad_map(line)
        found[product] = colour
    return found


def write_colours(folder: Path, colours: Mapping[str, Colour]) -> None:
    """Put the colour map in place, durably."""
    lines = "".join(f"{product} {colour}\n" for product, colour in sorted(colours.items()))
    write_file(folder, COLOUR_MAP, lines.encode("ascii"))


def write_pem(folder: Path, product: str, entry: str, certificate: Path, key: Path) -> PemName:
    """Copy certificate and key of an entry point into the folder as HAProxy wants them; the name for ``tls_pem``.

    Raises ``certificate-missing`` (7).
    """
    name, content = read_pem(product, entry, certificate, key)
    write_file(folder, name, content)
    return name


def read_pem(product: str, entry: str, certificate: Path, key: Path) -> tuple[PemName, bytes]:
    """The file that :func:`write_pem` will write.

    The name follows the content: a renewed certificate is another file, so that the old configuration keeps its own.
    Raises ``certificate-missing`` (7).
    """
    try:
        parts = [path.read_bytes().rstrip(b"\n") + b"\n" for path in (certificate, key)]
    except OSError as error:
        raise SealiftError(
            "certificate-missing",
            f"cannot read the certificate or key of {product}/{entry}: {error.filename}: {error.strerror}",
            hint="check tls.certificate and tls.key of this entry point in site.yaml",
        ) from error
    content = b"".join(parts)
    return f"tls/{product}.{entry}-{hashlib.sha256(content).hexdigest()[:16]}.pem", content


def drop_pems(folder: Path, *texts: str) -> None:
    """Remove the certificates that none of the given configurations names: keys don't pile up."""
    with _translated(folder / "tls"):
        for path in (folder / "tls").glob("*.pem"):
            if not any(f"/tls/{path.name} " in text for text in texts):
                path.unlink(missing_ok=True)


def _bad_map(line: str) -> SealiftError:
    return SealiftError(
        "edge-failed",
        f"the colour map does not read: {line[:80]!r}",
        hint=f"each line of {COLOUR_MAP} is a product and blue or green; remove the bad line and run this again",
    )


@contextlib.contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise SealiftError(
            "permission", f"cannot use the front door's folder {path}: {error.strerror}", hint="run as root"
        ) from error
    except OSError as error:
        kind = "disk-full" if error.errno == errno.ENOSPC else "state-dir-unusable"
        raise SealiftError(
            kind, f"cannot use {path}: {error.strerror}", hint="check the disk of the state dir"
        ) from error
