"""The files of a release: programs, templates, documents, the changelog, the site program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from bundler.collect.content import Content, FileContent, digest_of, looks_packed
from bundler.manifest.recipe import Program
from installer.bundle.release import File, FileRole, first_problem
from installer.errors import SealiftError


@dataclass(frozen=True)
class CollectedFile:
    """A file of the closed list and its bytes. ``packed`` says that compressing them gains nothing."""

    file: File
    content: Content
    packed: bool


def collect_file(
    path: str, role: FileRole, content: Content, *, executable: bool, packed: bool | None = None
) -> CollectedFile:
    """``content`` as the member ``path``. Raises ``manifest-invalid`` (2) for a path that the format can't hold."""
    mode: Literal["0644", "0755"] = "0755" if executable else "0644"
    try:
        file = File(path=path, role=role, size=content.size, digest=str(digest_of(content)), mode=mode)
    except ValidationError as error:
        raise SealiftError(
            "manifest-invalid",
            f"the bundle cannot hold a file called {path!r}: {first_problem(error)}",
            hint="letters, digits, dot, dash and underscore, at most 100 characters in all",
        ) from error
    return CollectedFile(file, content, looks_packed(content) if packed is None else packed)


def programs(
    entries: Iterable[Program], role: Literal["binary", "tool"], folder: str, base: Path
) -> Iterator[CollectedFile]:
    """Executables, as ``folder/name``; their paths are filled in already and relative to ``base``."""
    for entry in entries:
        content = FileContent.of(base / entry.path, f"{role} {entry.name}")
        yield collect_file(f"{folder}/{entry.name}", role, content, executable=True)


def documents(paths: Iterable[str], base: Path) -> Iterator[CollectedFile]:
    """Documents, by their last name."""
    for path in paths:
        file = base / path
        yield collect_file(f"docs/{file.name}", "doc", FileContent.of(file, "document"), executable=False)


def templates(folders: Iterable[str], base: Path) -> Iterator[CollectedFile]:
    """Every file below the template folders. Raises ``input-missing`` or ``template-invalid`` (2) for links."""
    for folder in folders:
        root = base / folder
        if not root.is_dir():
            raise SealiftError("input-missing", f"no template folder {root}", hint="mend `templates:` in the manifest")
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                raise SealiftError(
                    "template-invalid", f"{path} is a link or no plain file", hint="put the file itself there"
                )
            if path.is_file():
                member = f"templates/{path.relative_to(root).as_posix()}"
                executable = bool(path.stat().st_mode & 0o100)
                yield collect_file(member, "template", FileContent.of(path, "template"), executable=executable)
