"""One registry, by the OCI distribution protocol: what it has, and how it gets what it lacks.

Blobs are streamed: memory does not grow with their size. Their digests are checked by the registry, which refuses what
does not match, so nothing is hashed twice here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Self
from urllib.parse import quote, urlencode

from installer.bundle.digest import Digest
from installer.errors import SealiftError
from installer.registry.address import RegistryAddress
from installer.registry.login import Login
from installer.registry.patience import Patience
from installer.registry.wire import MAX_ANSWER, Answer, Wire

MANIFEST_TYPES = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)

_UNKNOWN = (404, 500)
"""Not there. A power cut can leave Distribution an empty link, a 500 when it is asked for: sending again mends it."""


class RegistryClient:
    """Every method raises ``registry-unreachable``, ``registry-login`` or ``registry-refused`` (9). Thread-safe."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @classmethod
    def at(
        cls,
        address: RegistryAddress,
        login: Login | None = None,
        ca: Path | None = None,
        patience: Patience | None = None,
    ) -> Self:
        """A client of the registry at ``address``. Raises ``certificate-missing`` (7)."""
        return cls(Wire(address, login, ca, patience))

    @property
    def address(self) -> RegistryAddress:
        """Where the registry is."""
        return self._wire.address

    def ping(self) -> None:
        """Returns when a registry answers and accepts the login."""
        answer = self._wire.ask("GET", "/v2/", "")
        if answer.status != 200:
            raise self._wire.refused(answer, "answer as a registry does")

    def has_blob(self, repository: str, digest: str, size: int) -> bool:
        """Whether the blob can be pulled from ``repository``. A copy of another size is ``registry-refused``."""
        found = self.blob_size(repository, digest, size)
        if found not in (None, size):
            message = f"the registry at {self.address.url} holds a damaged copy of blob {digest}: its size is wrong"
            hint = f"delete that blob from the storage of {self._wire.where}, then run this again"
            raise SealiftError("registry-refused", message, hint=hint)
        return found is not None

    def blob_size(self, repository: str, digest: str, size: int) -> int | None:
        """The size of the copy in ``repository``, None where there is none; ``size`` where the registry tells none."""
        answer = self._wire.ask("HEAD", f"/v2/{repository}/blobs/{digest}", _pull(repository))
        if answer.status in (302, 303, 307, 308):
            return size  # the registry has it, elsewhere
        if answer.status in _UNKNOWN:
            return None
        if answer.status != 200:
            raise self._wire.refused(answer, f"say whether it has a blob of {repository}")
        told = answer.headers.get("Content-Length", str(size))
        return int(told) if told.isdecimal() else -1

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Make a blob of the repository ``source`` one of ``repository`` too; False where the registry won't."""
        query = urlencode({"mount": digest, "from": source})
        path = f"/v2/{repository}/blobs/uploads/?{query}"
        answer = self._wire.ask("POST", path, f"{_push(repository)} {_pull(source)}")
        if answer.status == 201:
            return True
        if answer.status == 202:  # it began an upload instead
            self._cancel(repository, answer)
            return False
        raise self._wire.refused(answer, f"share a blob of {source} with {repository}")

    def upload_blob(self, repository: str, digest: str, size: int, chunks: Iterable[bytes]) -> None:
        """Stream a blob of ``size`` bytes; returns after the registry has stored it under ``digest``.

        What ``chunks`` raises comes through, and the registry forgets what it got.
        """
        path = f"/v2/{repository}/blobs/uploads/"
        begun = self._wire.ask("POST", path, _push(repository))
        location = begun.headers.get("Location")
        if begun.status != 202 or not location:
            raise self._wire.refused(begun, f"begin an upload to {repository}")
        url = self._wire.upload_url(path, location)
        # Appended, never replaced: the query that is there carries the state of the upload.
        url += ("&" if "?" in url else "?") + urlencode({"digest": digest})
        try:
            answer = self._wire.send(url, _push(repository), chunks, size)
        except SealiftError:
            raise
        except BaseException:  # the bytes will not come
            self._cancel(repository, begun)
            raise
        if answer.status != 201:
            raise self._wire.refused(answer, f"store blob {digest} in {repository}")
        if answer.headers.get("Docker-Content-Digest", digest) != digest:
            raise self._wire.refused(answer, f"store blob {digest} in {repository} under its own name")

    def copy_blob(self, repository: str, digest: str, size: int, source: str) -> None:
        """Make a blob of ``source`` one of ``repository`` too: shared where the registry can, else sent again."""
        if self.mount_blob(repository, digest, source):
            return
        if not self.has_blob(source, digest, size):
            message = f"the registry at {self.address.url} lost blob {digest} of {source}"
            raise SealiftError("registry-refused", message, hint="run the same command again")
        self.upload_blob(repository, digest, size, self.read_blob(source, digest))

    def read_blob(self, repository: str, digest: str) -> Iterator[bytes]:
        """Stream a blob, after :meth:`has_blob`; its bytes are not checked."""
        return self._wire.receive(f"/v2/{repository}/blobs/{digest}", _pull(repository))

    def manifest_digest(self, repository: str, reference: str) -> str | None:
        """The digest behind a tag or digest, or None where the repository has no such manifest."""
        headers = {"Accept": ", ".join(MANIFEST_TYPES)}
        path = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        answer = self._wire.ask("HEAD", path, _pull(repository), headers=headers)
        if answer.status in _UNKNOWN:
            return None
        if answer.status != 200:
            raise self._wire.refused(answer, f"say whether it has manifest {reference} of {repository}")
        return answer.headers.get("Docker-Content-Digest")

    def manifest(self, repository: str, reference: str) -> bytes | None:
        """The bytes of a manifest, at most 4 MiB, or None. Raises ``too-large`` (3), ``digest-mismatch`` (4) too."""
        path = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        answer = self._wire.ask("GET", path, _pull(repository), headers={"Accept": ", ".join(MANIFEST_TYPES)})
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise self._wire.refused(answer, f"give manifest {reference} of {repository}")
        if len(answer.body) >= MAX_ANSWER:
            raise SealiftError(
                "too-large", f"manifest {reference} of {repository} has more than {MAX_ANSWER - 1} bytes"
            )
        if reference.startswith("sha256:") and str(Digest.of(answer.body)) != reference:
            message = (
                f"the registry at {self.address.url} gave other bytes for manifest {reference} than its digest says"
            )
            raise SealiftError("digest-mismatch", message, hint=f"ask who runs {self._wire.where}")
        return answer.body

    def referrers(self, repository: str, digest: str) -> bytes | None:
        """The registry's own list of what refers to a manifest (distribution-spec 1.1); None where it keeps none."""
        answer = self._wire.ask("GET", f"/v2/{repository}/referrers/{digest}", _pull(repository))
        listed = answer.headers.get("Content-Type", "").startswith(MANIFEST_TYPES[1])
        if answer.status in (404, 405) or (answer.status == 200 and not listed):
            return None
        if answer.status != 200:
            raise self._wire.refused(answer, f"list what refers to a manifest of {repository}")
        return answer.body

    def put_manifest(self, repository: str, reference: str, media_type: str, digest: str, content: bytes) -> bool:
        """Store a manifest under a tag or its digest; all that it refers to must be there already, but its subject.

        Whether the registry lists it among the referrers of its subject (OCI distribution-spec 1.1).
        """
        path = f"/v2/{repository}/manifests/{quote(reference, safe=':')}"
        headers = {"Content-Type": media_type}
        answer = self._wire.ask("PUT", path, _push(repository), headers=headers, body=content)
        if answer.status != 201 or answer.headers.get("Docker-Content-Digest", digest) != digest:
            raise self._wire.refused(answer, f"store manifest {digest} in {repository}")
        return "OCI-Subject" in answer.headers

    def _cancel(self, repository: str, begun: Answer) -> None:
        """Ask the registry to forget an upload; it forgets by itself later where it doesn't listen."""
        location = begun.headers.get("Location", "")
        path = f"/v2/{repository}/blobs/uploads/"
        try:
            url = self._wire.upload_url(path, location)
            if url.startswith(self.address.url + "/"):
                self._wire.ask("DELETE", url.removeprefix(self.address.url), _push(repository))
        except SealiftError:
            return


def _pull(repository: str) -> str:
    return f"repository:{repository}:pull"


def _push(repository: str) -> str:
    return f"repository:{repository}:pull,push"
