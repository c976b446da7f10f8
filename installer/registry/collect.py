"""Freeing what no kept release needs in the bundled registry. It refuses deletes to everybody, so its own tool does it.

Rules:
- The registry is stopped meanwhile: Distribution's collector must not run beside uploads.
- What is kept is named by the kept releases: every manifest of theirs, children of indexes included. All other links
  to manifests go, tags too; then ``garbage-collect`` frees what nothing links to, without ``--delete-untagged``, which
  would take what is referenced by digest alone.
- Killed anywhere, it is simply done again: a link is removed before its blobs, never after.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Final

from installer.registry import container
from installer.registry.archive import EdgeImage
from installer.registry.bundled import BundledService, load_image
from installer.system import run

_REPOSITORIES: Final = "docker/registry/v2/repositories"


def collect(service: BundledService, image: EdgeImage, needed: Collection[str]) -> None:
    """Free everything but the manifests ``needed`` (``sha256:…``) and what they name; the registry runs again after.

    Raises ``tool-failed`` (7) or what :meth:`BundledService.start` raises.
    """
    image_id = load_image(image, service.engine)
    service.remove_container()
    try:
        drop_links(service.folder.data, needed)
        run(container.collect_garbage(service.names, image_id, service.folder, engine=service.engine))
    finally:
        service.start(image)


def drop_links(data: Path, needed: Collection[str]) -> None:
    """Forget manifests that are not ``needed``, and tags that lead to them. Raises ``OSError``."""
    for links in sorted((data / _REPOSITORIES).rglob("_manifests")):
        for tag in sorted((links / "tags").glob("*")):
            current = tag / "current/link"
            if not current.is_file() or current.read_text(encoding="ascii").strip() not in needed:
                shutil.rmtree(tag)
        for revision in sorted((links / "revisions/sha256").glob("*")):
            if f"sha256:{revision.name}" not in needed:
                shutil.rmtree(revision)
