"""``path.json`` on media that hold several releases: in which folders the steps lie. A hint, believed in nothing.

Each step is a media folder of its own, judged by its own signatures and rules; a note that is wrong can only refuse.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, ValidationError, model_validator

from installer.bundle.fields import Closed, DigestText, Name, SemVer
from installer.bundle.problems import first_problem
from installer.bundle.strictjson import canonical, parse_canonical
from installer.errors import SealiftError

PATH_FILE: Final = "path.json"
PATH_TYPE: Final = "application/vnd.sealift.path.v1+json"
MAX_STEPS: Final = 32
_MAX_BYTES: Final = 64 * 1024
_HINT: Final = "copy the media again from their source; each folder in them can also be installed by itself"
Folder = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}-[A-Za-z0-9][A-Za-z0-9._-]{0,119}$")]
"""One folder beside the note: two digits first, so that people see the order too."""


class PathStep(Closed):
    """A release on the way, and the media folder that brings it."""

    folder: Folder
    version: SemVer
    digest: DigestText


class PathNote(Closed):
    """The steps of ``product`` in their order; ``site`` is who they were packed for, ``since`` what ran there."""

    type: Literal["application/vnd.sealift.path.v1+json"] = PATH_TYPE
    product: Name
    site: Name
    since: SemVer | None
    steps: Annotated[tuple[PathStep, ...], Field(min_length=1, max_length=MAX_STEPS)]

    @model_validator(mode="after")
    def _folders_in_order(self) -> Self:
        folders = [step.folder for step in self.steps]
        if folders != sorted(set(folders)):
            raise ValueError("folders that are not sorted, or twice there")
        return self

    @classmethod
    def beside(cls, folder: Path) -> PathNote | None:
        """The note in ``folder``, a plain file; None where there is none. Raises the ``json-…`` errors,
        ``path-note-invalid`` (3), ``media-unreadable`` (4)."""
        raw = _read(folder / PATH_FILE)
        return None if raw is None else cls.parse(raw)

    @classmethod
    def parse(cls, raw: bytes) -> PathNote:
        """Read the one valid spelling. Raises the ``json-…`` errors, ``path-note-invalid`` (3)."""
        if len(raw) > _MAX_BYTES:
            raise SealiftError("path-note-invalid", f"{PATH_FILE} is larger than {_MAX_BYTES} bytes", hint=_HINT)
        value = parse_canonical(raw, PATH_FILE)
        if not isinstance(value, dict) or value.get("type") != PATH_TYPE:
            raise SealiftError("path-note-invalid", f"{PATH_FILE} is of a type that is not known here", hint=_HINT)
        try:
            note = cls.model_validate_json(raw)
        except ValidationError as error:
            raise SealiftError("path-note-invalid", f"{PATH_FILE}: {first_problem(error)}", hint=_HINT) from error
        if note.to_bytes() != raw:
            raise SealiftError("path-note-invalid", f"{PATH_FILE} is spelled otherwise", hint=_HINT)
        return note

    def to_bytes(self) -> bytes:
        """Its one spelling."""
        return canonical(self.model_dump(mode="json"))


def _read(path: Path) -> bytes | None:
    """A plain file; no link is followed, nothing is waited for."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise SealiftError("media-unreadable", f"cannot read {path}: {error.strerror}", hint=_HINT) from error
    with os.fdopen(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise SealiftError("path-note-invalid", f"{path} is not a plain file", hint=_HINT)
        try:
            return file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise SealiftError("media-unreadable", f"reading {path} failed: {error.strerror}", hint=_HINT) from error
