"""What nothing else noticed when the verifier was changed by one word: see docs/mutation.md."""

from __future__ import annotations

import hashlib

import pytest

from installer.bundle.digest import Digest
from installer.errors import SealiftError

HEX = hashlib.sha256(b"x").hexdigest()


def test_reads_the_one_spelling_of_a_digest() -> None:
    digest = Digest.parse(f"sha256:{HEX}")
    assert (digest.hex, digest.short, str(digest)) == (HEX, HEX[:8], f"sha256:{HEX}")
    assert digest == Digest.of(b"x")


@pytest.mark.parametrize(
    "text",
    ["", HEX, f"sha256:{HEX[1:]}", f"sha256:{HEX}0", f"sha256:{HEX}\n", f"SHA256:{HEX}", f"sha256:{HEX.upper()}",
     f"sha512:{HEX}", f" sha256:{HEX}"],
)  # fmt: skip
def test_refuses_another_spelling_of_a_digest(text: str) -> None:
    with pytest.raises(SealiftError) as caught:
        Digest.parse(text)
    assert caught.value.id == "digest-malformed"
