"""What is fuzzed: each target takes any bytes and holds what its parser promises. All lie behind the signature.

A target may raise nothing: a refusal is a :class:`SealiftError` with a code for bad media, and whatever is taken is
written back byte for byte, or installs exactly the signed content.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import TypeVar

from installer.bundle.age import AgeHeader, MediaKey
from installer.bundle.encrypted import decrypted
from installer.bundle.frames import FrameReader
from installer.bundle.packing import read_packing
from installer.bundle.pathnote import PathNote
from installer.bundle.receipt import Receipt, read_receipt
from installer.bundle.release import Release
from installer.bundle.signature import parse_signature, sigstore_bundle
from installer.bundle.strictjson import canonical, parse, parse_canonical
from installer.bundle.tarheader import BLOCK, parse_header, tar_header
from installer.bundle.trust import TrustPolicy
from installer.errors import ExitCode, SealiftError
from tests.unit.bundle.agefiles import AgeFile
from tests.vectors.forge import RELEASE, Forge, Member, boundaries, file_of, frames_of
from tests.vectors.judge import installed

REFUSALS = (ExitCode.MALFORMED, ExitCode.CORRUPT, ExitCode.UNTRUSTED, ExitCode.INCOMPATIBLE)
NO_KEY = "media-key-wrong"
"""The only refusal about this host: a stanza that is damaged is one for somebody else."""
Taken = TypeVar("Taken")

FORGE = Forge()
GOOD = FORGE.bytes()
CONTENT = installed(io.BytesIO(GOOD), FORGE.policy)
RELEASE_READ = Release.parse(FORGE.statement)
MEDIA_KEY = MediaKey(bytes(range(32)))
SEALED = AgeFile(MEDIA_KEY, bytes(16), bytes(16)).sealed(GOOD)
HEAD = boundaries(FORGE.frames())[6]  # behind packing.json


def _taken(parse_it: Callable[[], Taken]) -> Taken | None:
    try:
        return parse_it()
    except SealiftError as error:
        if (error.exit_code not in REFUSALS and error.id != NO_KEY) or not error.message.isprintable():
            raise AssertionError(f"a refusal of another kind: {error.id} {error.message!r}") from error
        return None


def _hold(condition: bool, what: str) -> None:
    if not condition:
        raise AssertionError(what)


def json(data: bytes) -> None:
    """Strict JSON, in its canonical spelling or not."""
    value = _taken(lambda: (parse(data, "x"),))
    exact = _taken(lambda: (parse_canonical(data, "x"),))
    _hold(exact is None or canonical(exact[0]) == data, "not written back")
    _hold(value is None or parse_canonical(canonical(value[0]), "x") == value[0], "not read back")


def release(data: bytes) -> None:
    """release.json."""
    found = _taken(lambda: Release.parse(data))
    _hold(found is None or found.to_bytes() == data, "not written back")


def packing(data: bytes) -> None:
    """packing.json."""
    found = _taken(lambda: read_packing(data, RELEASE_READ))
    _hold(found is None or found.to_bytes() == data, "not written back")


def path(data: bytes) -> None:
    """The hint on media that hold several releases."""
    found = _taken(lambda: PathNote.parse(data))
    _hold(found is None or found.to_bytes() == data, "not written back")


def receipt(data: bytes) -> None:
    """A receipt's statement, and a whole receipt."""
    found = _taken(lambda: Receipt.parse(data))
    _hold(found is None or found.to_bytes() == data, "not written back")
    whole = _taken(lambda: read_receipt(data))
    _hold(whole is None or data.startswith(whole.raw), "something else was read")


def signature(data: bytes) -> None:
    """A signature file."""
    found = _taken(lambda: parse_signature(data, "x"))
    if found is not None:
        again = sigstore_bundle(found.signature, found.digest, RELEASE.spki)
        _hold(parse_signature(again, "x").signature == found.signature, "not read back")


def root(data: bytes) -> None:
    """The root of trust, up to its own signatures, which no input can have."""
    _taken(lambda: TrustPolicy.from_root(data, "x"))


def header(data: bytes) -> None:
    """A tar header whose checksum is right."""
    block = bytearray(data[:BLOCK].ljust(BLOCK, b"\0"))
    total = sum(block) - sum(block[148:156]) + 8 * ord(" ")
    block[148:156] = f"{total:06o}\0 ".encode("ascii")
    found = _taken(lambda: parse_header(bytes(block)))
    _hold(found is None or tar_header(*found) == block, "not written back")


def frame(data: bytes) -> None:
    """Frames, read and passed over."""
    reader = FrameReader(io.BytesIO(data))
    content = _taken(reader.read)
    _hold(content is None or len(content) == reader.spans[0].content, "another size than declared")
    other = FrameReader(io.BytesIO(data))
    _taken(other.skip)
    _hold(content is None or other.spans == reader.spans, "read and skip disagree")
    _taken(reader.finish)


def tail(data: bytes) -> None:
    """Any bytes behind the head of a signed bundle."""
    _whole(GOOD[:HEAD] + data)


def patch(data: bytes) -> None:
    """The signed bundle with a stretch replaced: two bytes say where, one how much."""
    place, length = int.from_bytes(data[:2], "little") % len(GOOD), data[2] if len(data) > 2 else 0
    _whole(GOOD[:place] + data[3:] + GOOD[place + length :])


def members(data: bytes) -> None:
    """Members in another order, more or fewer, validly framed: each byte names one, or makes a new one."""
    good, chosen = FORGE.members(), []
    for place, byte in enumerate(data[:40]):
        name = data[place + 1 : place + 9].decode("latin-1")
        new = Member(name if name.isascii() and name and "\0" not in name else "new", data[place + 9 : place + 99])
        chosen.append(good[byte] if byte < len(good) else new)
    _whole(file_of(frames_of(chosen)))


def signed(data: bytes) -> None:
    """release.json, signed by the trusted key, at the head of a bundle."""
    _taken(lambda: installed(io.BytesIO(Forge(raw=data).bytes()), FORGE.policy))


def age(data: bytes) -> None:
    """The head of an encrypted file: refused, or in its one spelling."""
    found = _taken(lambda: AgeHeader.read(io.BytesIO(data)))
    _hold(found is None or AgeHeader.parse(data[: found.size]) == found, "another header")
    _taken(lambda: found.file_key([MEDIA_KEY]) if found is not None else None)


def sealed(data: bytes) -> None:
    """The signed bundle, encrypted, with a stretch replaced: two bytes say where, one how much."""
    place, length = int.from_bytes(data[:2], "little") % len(SEALED), data[2] if len(data) > 2 else 0
    changed = SEALED[:place] + data[3:] + SEALED[place + length :]
    held = _taken(lambda: installed(decrypted(io.BytesIO(changed), "x", lambda: [MEDIA_KEY])[0], FORGE.policy))
    _hold(held is None or held == CONTENT, "something else would be installed")


def _whole(data: bytes) -> None:
    held = _taken(lambda: installed(io.BytesIO(data), FORGE.policy))
    _hold(held is None or held == CONTENT, "something else would be installed")


TARGETS: dict[str, Callable[[bytes], None]] = {
    target.__name__: target
    for target in (
        age,
        sealed,
        frame,
        header,
        json,
        members,
        packing,
        patch,
        path,
        receipt,
        release,
        root,
        signature,
        signed,
        tail,
    )
}
