"""``python -m tests.testkit``: the test vectors of the age format (C2SP's CCTV) against our reader.

They are a Go module, so Go brings them: `make testkit`. Those about what we do not read (armor, passphrases, keys of
other kinds) must be refused; of all others the outcome is compared, and the content by its hash.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zlib
from collections import Counter
from pathlib import Path

from installer.bundle.age import MediaKey
from installer.bundle.encrypted import CHUNK, decrypted
from installer.errors import SealiftError

UNREAD = ("armor", "scrypt", "hybrid")
EXPECTED = {
    "no match": {"media-key-wrong"},
    "HMAC failure": {"age-altered"},
    "header failure": {"age-header", "truncated", "age-passphrase", "plain"},  # plain: empty, so no bundle either
    "payload failure": {"age-chunk", "truncated"},
    "armor failure": {"plain"},
}


def outcome(data: bytes, keys: list[MediaKey], *, backwards: bool = False) -> tuple[str, str]:
    """The id of the refusal, ``plain`` or ``success``, and the hash of what came out; chunks from the end on."""
    found = hashlib.sha256()
    try:
        file, encrypted = decrypted(io.BytesIO(data), "x", lambda: keys)
        if not encrypted:
            return "plain", ""
        with file:
            size = file.seek(0, io.SEEK_END)
            starts = range(0, size, CHUNK)
            pieces = {}
            for start in reversed(starts) if backwards else starts:
                file.seek(start)
                pieces[start] = file.read(CHUNK)
            if file.read(1) and not backwards:
                raise AssertionError("more than was said")
    except SealiftError as error:
        return error.id, ""
    for start in sorted(pieces):
        found.update(pieces[start])
    return "success", found.hexdigest()


def judge(vector: bytes) -> tuple[str, str]:
    """What a vector expects, and what we make of it."""
    head, _, body = vector.partition(b"\n\n")
    fields = [line.partition(": ")[::2] for line in head.decode().splitlines()]
    told = dict(fields)
    if told.get("compressed") == "zlib":
        body = zlib.decompress(body)
    keys = [key for name, value in fields if name == "identity" and (key := MediaKey.parse(value))]
    keys = keys or [MediaKey.generate()]
    got, digest = outcome(body, keys)
    if outcome(body, keys, backwards=True) != (got, digest):
        return told["expect"], f"{got}, but not backwards"
    if got == "success" and digest != told["payload"]:
        return told["expect"], "another content"
    return told["expect"], got


def main(folder: Path) -> int:
    """Print how many agree; 1 where one does not."""
    counts: Counter[str] = Counter()
    for path in sorted(folder.iterdir()):
        expected, got = judge(path.read_bytes())
        unread = path.name.startswith(UNREAD)
        agrees = got != "success" if unread else got in EXPECTED.get(expected, {expected})
        kind = "not read, refused" if unread else "agree"
        counts[kind if agrees else "DIFFER"] += 1
        if not agrees:
            print(f"{path.name}: {expected!r} expected, {got!r} found")
    print(", ".join(f"{count} {what}" for what, count in sorted(counts.items())))
    return int("DIFFER" in counts or not counts["agree"])


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
