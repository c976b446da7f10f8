"""Asks the verifier about bundles in memory, and hands on its answer."""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest

from installer.bundle.archive import BundleReader
from installer.bundle.content import Sink
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import VerifiedRelease, check_content, verify_release
from installer.errors import SealiftError
from tests.vectors.forge import (
    RELEASE,
    root_of,
)


def refusal(run: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        run()
    return caught.value


def checked(data: bytes, *sinks: Sink, quick: bool = False) -> tuple[VerifiedRelease, tuple[str, ...], list[int]]:
    """The verified release, what was not checked, and every report of progress."""
    steps: list[int] = []
    policy = TrustPolicy.from_root(root_of(RELEASE), "root.json")
    with BundleReader.from_file(io.BytesIO(data), "x.bundle.tar.zst") as reader:
        verified = verify_release(reader, policy)
        if quick:
            left = check_content(reader, verified, sinks, progress=steps.append, quick=True)
        else:  # as everybody calls it who says nothing
            left = check_content(reader, verified, sinks, progress=steps.append)
    return verified, left, steps
