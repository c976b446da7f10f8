"""Asks the verifier about a signature file, and how it refuses."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from installer.bundle.keyless import signer_of
from installer.bundle.keylessform import KeylessSignature
from installer.bundle.signature import parse_signature
from installer.bundle.signers import Identity
from installer.bundle.sigstoreroot import SigstoreRoot
from installer.errors import SealiftError
from tests.keyless.instance import IDENTITY, ISSUER, Instance, Signed

PAYLOAD = b'{"type":"a release"}\n'
PIPELINE = Identity(IDENTITY, ISSUER, "pipeline")


def root_of(instance: Instance, **more: Any) -> SigstoreRoot:
    return SigstoreRoot.read(instance.trusted_root(**more), "root.json")


def judged(
    file: Signed | dict[str, Any] | bytes,
    root: SigstoreRoot | None,
    *wanted: Identity,
    payload: bytes = PAYLOAD,
) -> Identity:
    """Whom ``file`` is by, of those ``wanted`` (the pipeline, where none is named)."""
    raw = file.file() if isinstance(file, Signed) else file if isinstance(file, bytes) else json.dumps(file).encode()
    sign = parse_signature(raw, "signatures/x.sigstore.json")
    assert isinstance(sign, KeylessSignature)
    return signer_of(sign, payload, wanted or (PIPELINE,), root)


def refused(*arguments: Any, **more: Any) -> str:
    """The id of the refusal."""
    with pytest.raises(SealiftError) as caught:
        judged(*arguments, **more)
    assert caught.value.hint and len(caught.value.message) < 500
    return caught.value.id


def period(root: dict[str, Any], kind: str, start: datetime, end: datetime) -> dict[str, Any]:
    """A trusted root whose ``kind`` counts for that time only."""
    times = {name: time.strftime("%Y-%m-%dT%H:%M:%SZ") for name, time in (("start", start), ("end", end))}
    for one in root[kind]:
        one.get("publicKey", one)["validFor"] = times
    return root
