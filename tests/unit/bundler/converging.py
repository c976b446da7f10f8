"""Whatever a strike leaves in an output folder: under the final name is what is right, and the next run ends well."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


def files(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@dataclass
class Output:
    """``folder``, in which ``run`` makes ``name`` and nothing else, the same bytes each time.

    ``content`` is what of it is compared, once it is there. Where bytes are left that an earlier strike has left too,
    running again was tried then.
    """

    folder: Path
    name: str
    run: Callable[[], object]
    content: Callable[[Path], dict[str, bytes]] = files
    replaces: bool = True
    """Whether it may run again over what is complete."""
    right: dict[str, bytes] = field(default_factory=dict)
    tried: set[str] = field(default_factory=set)

    def begin(self) -> None:
        """Nothing has been made."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def prove(self) -> None:
        """Make it from nothing: what is there now is right."""
        self.begin()
        self.tried.add(self._state())
        self.run()
        self.right = self.content(self.made)

    @property
    def made(self) -> Path:
        return self.folder / self.name

    def converges(self) -> None:
        """Look at what is there, and run again."""
        whole = self.made.exists()
        if whole:
            assert self.content(self.made) == self.right
        if (state := self._state()) in self.tried:
            return
        if self.replaces or not whole:
            self.run()
        assert self.content(self.made) == self.right
        assert list(self.folder.iterdir()) == [self.made]
        self.tried.add(state)

    def _state(self) -> str:
        """The names, rights and bytes of all that is there."""
        found = hashlib.sha256()
        for path in sorted(self.folder.rglob("*")):
            status = path.lstat()
            found.update(f"{path.relative_to(self.folder)}\0{status.st_mode}\0{status.st_size}\0".encode())
            found.update(path.read_bytes() if path.is_file() else b"")
        return found.hexdigest()
