"""No check of the verifier stands in the shadow of another: without it, some vector gets through or gets another id."""

from __future__ import annotations

import importlib
from functools import cache

import pytest

from tests.vectors.catalogue import HOSTILE
from tests.vectors.disarm import Check, checks, disarmed
from tests.vectors.judge import verdict

MODULES = (
    "archive", "fields", "frames", "packing", "paths", "problems", "release", "rootfile", "roots", "signature",
    "signers", "strictjson", "tarheader", "trust", "verify",
)  # fmt: skip
NOT_ABOUT_BYTES = {
    "archive.ArchiveWriter.member": "the writer",
    "archive.locate_bundle": "looks into a folder: test_bundle_reading",
    "rootfile.version_of": "roots that people name by their path: tests/unit/trust/test_host_roots",
    "strictjson._refuse_inexact": "the writer",
    "tarheader.tar_header": "the writer",
    "verify.VerifiedRelease.__post_init__": "keeps the door: test_bundle_reading",
}
IN_THE_SHADOW = {
    "tarheader.parse_header: mode not in MODES": "the member's own mode is asked for next, with the same id",
    "verify._check_patch: error.id == 'digest-mismatch'": "without it the same id is told in other words: test_sinks",
    "fields._version: str(parsed) != text": "the library refuses other spellings today",
    "signature.parse_signature: len(raw) > MAX_SIGNATURE_BYTES": "the reader told from the header; for kept releases",
}


@cache
def made(name: str) -> tuple[bytes, bytes]:
    vector = next(vector for vector in HOSTILE if vector.name == name)
    return vector.bundle, vector.trusted


def shows(check: Check) -> bool:
    """Whether some vector ends otherwise without ``check``."""
    likely = [vector for vector in HOSTILE if vector.error in (check.ids or {"release-invalid"})]
    with disarmed(check):
        for vector in [*likely, *(vector for vector in HOSTILE if vector not in likely)]:
            try:
                if verdict(*made(vector.name)) != vector.error:
                    return True
            except Exception:  # the check was all that stood before a crash
                return True
    return False


@pytest.mark.parametrize("name", MODULES)
def test_some_vector_needs_each_check(name: str) -> None:
    found = checks(importlib.import_module(f"installer.bundle.{name}"))
    assert found or name == "problems"
    idle = {str(check) for check in found if str(check).partition(":")[0] not in NOT_ABOUT_BYTES and not shows(check)}
    assert idle == {what for what in IN_THE_SHADOW if what.startswith(f"{name}.")}
    for vector in HOSTILE[::50]:
        assert verdict(*made(vector.name)) == vector.error, "a check was not put back"
