"""Age files: what is read, and what is refused, as the real `age` and pyrage read and refuse it."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.bundle.age import MAX_HEADER, MAX_STANZAS, AgeHeader, MediaKey, bech32_bytes, bech32_text, parse_keys
from installer.bundle.encrypted import DecryptedFile, decrypted, is_encrypted
from installer.errors import ExitCode, SealiftError
from tests.testkit import outcome
from tests.unit.bundle import agefiles
from tests.unit.bundle.agefiles import AgeFile, broken_headers, broken_payloads, raw64, sound

KEY = MediaKey.generate()
HEADERS, PAYLOADS, SOUND = broken_headers(KEY), broken_payloads(KEY), sound(KEY)
# What the specification refuses and an implementation of today takes.
TAKEN_BY_AGE = {"a passphrase beside a key"}
TAKEN_BY_PYRAGE = {"stanza: no body", "stanza: no short last line"}


def real_age(data: bytes, folder: Path) -> subprocess.CompletedProcess[bytes]:
    (folder / "key").write_text(KEY.spelled() + "\n")
    return subprocess.run(["age", "-d", "-i", folder / "key"], input=data, capture_output=True)


def pyrage_of(data: bytes) -> object:
    try:
        return pyrage.decrypt(data, [pyrage.x25519.Identity.from_str(KEY.spelled())])
    except pyrage.DecryptError:
        return None


def read(data: bytes, *keys: MediaKey) -> bytes:
    with decrypted(io.BytesIO(data), "x", lambda: keys or [KEY])[0] as file:
        return file.read()


@pytest.mark.parametrize("name", SOUND)
def test_reads_what_age_and_pyrage_read(name: str, tmp_path: Path) -> None:
    data, content = SOUND[name]
    assert read(data) == content
    assert real_age(data, tmp_path).stdout == content and pyrage_of(data) == content


@pytest.mark.parametrize("name", HEADERS)
def test_refuses_a_header_that_age_refuses(name: str, tmp_path: Path) -> None:
    got, _ = outcome(HEADERS[name], [KEY])
    assert got == {"mac: wrong": "age-altered"}.get(
        name, "age-passphrase" if name.startswith("a passphrase") else "age-header"
    )
    assert (real_age(HEADERS[name], tmp_path).returncode == 0) == (name in TAKEN_BY_AGE)
    assert (pyrage_of(HEADERS[name]) is not None) == (name in TAKEN_BY_PYRAGE)


@pytest.mark.parametrize("name", PAYLOADS)
def test_refuses_a_payload_that_age_refuses(name: str, tmp_path: Path) -> None:
    for backwards in (False, True):
        got, _ = outcome(PAYLOADS[name], [KEY], backwards=backwards)
        assert got in ("age-chunk", "truncated")
    assert real_age(PAYLOADS[name], tmp_path).returncode != 0 and pyrage_of(PAYLOADS[name]) is None


@pytest.mark.parametrize("name", ["last chunk missing", "only chunk not the last", "no chunk", "short nonce"])
def test_an_early_end_is_called_so(name: str) -> None:
    assert outcome(PAYLOADS[name], [KEY])[0] == "truncated"


def test_names_the_bytes_of_the_file_that_are_damaged() -> None:
    file = AgeFile(KEY)
    chunks = file.chunks(bytes(3 * agefiles.CHUNK))
    start = len(file.bytes())
    with pytest.raises(SealiftError) as caught:
        read(file.bytes([chunks[0], bytes(65552), chunks[2]]))
    assert caught.value.exit_code is ExitCode.CORRUPT
    assert f"bytes {start + 65552} to {start + 2 * 65552 - 1}" in caught.value.message


@pytest.mark.parametrize("content", [b"", b"x", bytes(65536), bytes(200_000)])
def test_reads_what_the_real_age_and_pyrage_write(content: bytes, tmp_path: Path) -> None:
    by_age = subprocess.run(["age", "-r", KEY.recipient], input=content, capture_output=True, check=True).stdout
    by_pyrage = pyrage.encrypt(content, [pyrage.x25519.Recipient.from_str(KEY.recipient)])
    assert read(by_age) == read(by_pyrage) == content


def test_keys_are_those_of_age_keygen(tmp_path: Path) -> None:
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    (key,) = parse_keys(made, "x")
    assert f"# public key: {key.recipient}\n" in made and key.spelled() in made
    (tmp_path / "ours").write_text(KEY.spelled() + "\n")
    theirs = subprocess.run(["age-keygen", "-y", tmp_path / "ours"], capture_output=True, text=True, check=True)
    assert theirs.stdout.strip() == KEY.recipient


def test_finds_its_stanza_among_those_of_others_and_names_nobody() -> None:
    keys = [MediaKey.generate() for _ in range(4)]
    file = AgeFile(keys[0], stanzas=[])
    file.stanzas = [file.stanza(to=agefiles.public(key)) for key in keys]
    data = file.bytes(file.chunks(b"content"))
    assert [read(data, key) for key in keys] == [b"content"] * 4
    with pytest.raises(SealiftError) as caught:
        read(data, KEY)
    assert caught.value.id == "media-key-wrong" and "age1" not in caught.value.message


def test_without_a_key_says_so_only_of_a_sound_header() -> None:
    for keys in (None, list):
        with pytest.raises(SealiftError) as caught:
            decrypted(io.BytesIO(SOUND["one byte"][0]), "x", keys)
        assert (caught.value.id, int(caught.value.exit_code)) == ("media-encrypted", 7)
    with pytest.raises(SealiftError) as caught:
        decrypted(io.BytesIO(HEADERS["no stanza"]), "x")
    assert caught.value.id == "age-header"


def test_reads_no_more_than_64_kib_of_a_header_and_no_more_than_256_stanzas() -> None:
    class Counted(io.BytesIO):
        taken = 0

        def readline(self, size: int | None = -1, /) -> bytes:
            line = super().readline(size)
            self.taken += len(line)
            return line

    for junk in (b"A" * 10_000_000, b"-> x\n" + (b"A" * 64 + b"\n") * 100_000):
        file = Counted(agefiles.VERSION + junk)
        with pytest.raises(SealiftError) as caught:
            AgeHeader.read(file)
        assert caught.value.id == "age-header" and file.taken <= MAX_HEADER + 1
    stanzas = [b"-> x\n\n"] * MAX_STANZAS
    assert len(AgeHeader.parse(AgeFile(KEY, stanzas=stanzas).header()).stanzas) == MAX_STANZAS
    with pytest.raises(SealiftError, match="more than 256"):
        AgeHeader.parse(AgeFile(KEY, stanzas=[*stanzas, b"-> x\n\n"]).header())


def test_every_cut_of_a_file_is_refused() -> None:
    file = AgeFile(KEY)
    data = file.bytes(file.chunks(b"content"))
    for length in range(len(b"age-encryption.org/"), len(data)):
        assert outcome(data[:length], [KEY])[0] in ("truncated", "age-header", "age-chunk"), length


def test_every_byte_counts() -> None:
    file = AgeFile(KEY, stanzas=[])
    file.stanzas = [file.stanza(to=agefiles.public(MediaKey.generate())), b"-> x yz\nAAAA\n", file.stanza()]
    data = file.bytes(file.chunks(b"content"))
    seen = set()
    for place in range(len(data)):
        for turn in (0x01, 0x80):
            changed = bytearray(data)
            changed[place] ^= turn
            seen.add(got := outcome(bytes(changed), [KEY])[0])
            assert got != "success", (place, turn)
    assert seen == {"plain", "age-header", "age-altered", "age-chunk", "media-key-wrong", "truncated"}


@given(st.binary(max_size=400), st.integers(0, 400))
def test_any_header_is_refused_or_is_the_one_spelling(data: bytes, place: int) -> None:
    good = AgeFile(KEY).header()
    for raw in (agefiles.VERSION + data, good[:place] + data + good[place:]):
        try:
            found = AgeHeader.read(io.BytesIO(raw))
        except SealiftError as error:
            assert error.id in ("age-header", "age-passphrase", "truncated") and error.message.isprintable()
            continue
        spelled = b"".join(
            b"-> " + " ".join(one.arguments).encode() + b"\n" + _wrapped(raw64(one.body)) for one in found.stanzas
        )
        assert raw[: found.size] == agefiles.VERSION + spelled + b"--- " + raw64(found.mac) + b"\n"


@given(st.lists(st.tuples(st.integers(0, 200_100), st.integers(0, 70_000), st.booleans()), max_size=12))
def test_seeks_as_the_content_itself_would(moves: list[tuple[int, int, bool]]) -> None:
    content = SEEKED[1]
    plain, file = io.BytesIO(content), decrypted(io.BytesIO(SEEKED[0]), "x", lambda: [KEY])[0]
    for offset, count, from_end in moves:
        place = (-min(offset, len(content)), io.SEEK_END) if from_end else (offset, io.SEEK_SET)
        assert file.seek(*place) == plain.seek(*place) and file.tell() == plain.tell()
        assert file.read(count) == plain.read(count)


def test_a_place_counted_from_the_end_is_believed_only_of_a_whole_file() -> None:
    file = AgeFile(KEY)
    cut = file.bytes(file.chunks(bytes(3 * agefiles.CHUNK))[:2])
    opened = decrypted(io.BytesIO(cut), "x", lambda: [KEY])[0]
    assert opened.seek(-100_000, io.SEEK_END) == 2 * agefiles.CHUNK - 100_000
    with pytest.raises(SealiftError) as caught:
        opened.read(1)  # in a chunk that is sound
    assert caught.value.id == "truncated"
    assert opened.seek(0) == 0 and opened.read(10) == bytes(10)
    opened = decrypted(io.BytesIO(cut), "x", lambda: [KEY])[0]
    opened.seek(2 * agefiles.CHUNK)  # just the end, counted from the start
    with pytest.raises(SealiftError) as caught:
        opened.read(1)
    assert caught.value.id == "truncated"
    with pytest.raises(SealiftError) as caught:
        read(file.bytes([bytes(16)]))  # nothing, and no proof of it
    assert caught.value.id == "age-chunk"


@given(st.binary(min_size=32, max_size=32))
def test_bech32_goes_both_ways_and_only_in_one_case(data: bytes) -> None:
    for prefix in ("age", "age-secret-key-"):
        text = bech32_text(prefix, data)
        assert bech32_bytes(text, prefix) == bech32_bytes(text.upper(), prefix) == data
        assert bech32_bytes(text[:-1] + ("q" if text[-1] != "q" else "p"), prefix) is None
        assert bech32_bytes(text.capitalize(), prefix) is None
        assert bech32_bytes(text, "other") is None
    secret = bech32_text("age-secret-key-", data)
    assert MediaKey.parse(secret) is None and MediaKey.parse(secret.upper()) is not None
    assert str(pyrage.x25519.Identity.from_str(secret.upper()).to_public()) == MediaKey(data).recipient


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no keys"),
        ("# only words\n", "no keys"),
        ("AGE-PLUGIN-YUBIKEY-1QQQQ\n", "line 1"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\n", "line 1"),
        ("age-encryption.org/v1\n", "line 1"),
        (f"\n{KEY.spelled()}x\n", "line 2"),
        (KEY.spelled().lower(), "line 1"),
        (KEY.recipient, "line 1"),
        ("\n".join(MediaKey.generate().spelled() for _ in range(17)), "17 keys"),
    ],
    ids=["empty", "comments", "plugin", "ssh", "an age file", "mistyped", "lower case", "recipient", "too many"],
)
def test_refuses_a_file_of_keys_that_is_none_without_repeating_it(text: str, why: str) -> None:
    with pytest.raises(SealiftError, match=why) as caught:
        parse_keys(text, "the-file")
    assert caught.value.id == "media-key-damaged"
    assert not [word for word in text.split() if len(word) > 20 and word in str(caught.value) + caught.value.hint]


@pytest.mark.parametrize(("more", "expected"), [(0, "success"), (1, "age-header")])
def test_reads_a_header_of_just_the_greatest_size(more: int, expected: str) -> None:
    file = AgeFile(KEY)
    file.stanzas.append(b"-> " + b"x" * (MAX_HEADER + more - len(file.header()) - len(b"-> \n\n")) + b"\n\n")
    assert len(file.header()) == MAX_HEADER + more
    assert outcome(file.bytes(file.chunks(b"content")), [KEY])[0] == expected


def test_says_what_is_wrong_with_a_file_and_which() -> None:
    file = AgeFile(KEY)
    head, last = len(file.bytes()), file.chunk(0, b"content", last=True)
    full = file.chunks(bytes(2 * agefiles.CHUNK))
    words = {
        file.bytes([full[0], bytes(len(full[1]))]): f"the-file is damaged: bytes {head + 65552} to the end",
        file.bytes([bytes(len(full[0])), full[1]]): f"the-file is damaged: bytes {head} to {head + 65551}",
        file.bytes([full[0], file.chunk(1, b"", last=True)]): f"the-file is damaged: bytes {head + 65552} to the end",
        file.bytes([full[0]]): f"the-file ends too early, after {head + 65552} bytes",
        file.bytes(
            file.chunks(bytes(2 * agefiles.CHUNK + 1))[:2]
        ): f"the-file ends too early, after {head + 131104} bytes",
        file.bytes([last[:15]]): f"the-file ends too early, after {head + 15} bytes",
        file.header(): f"the-file ends too early, after {head} bytes",
        AgeFile(MediaKey.generate()).bytes(
            [last]
        ): "the-file is encrypted to others: no media key that is here opens it",
        AgeFile(KEY, mac=b" " + raw64(bytes(32)) + b"\n").bytes([last]): (
            f"the header of the encrypted media is damaged: bytes 0 to {head - 17}"
        ),
        file.header()[:-1]: "the encrypted media end within their header",
    }
    for data, message in words.items():
        with pytest.raises(SealiftError) as caught, decrypted(io.BytesIO(data), "the-file", lambda: [KEY])[0] as opened:
            opened.read()
        assert caught.value.message == message and caught.value.hint
    with pytest.raises(SealiftError, match="the-file is encrypted, and there is no media key here"):
        decrypted(io.BytesIO(file.bytes([last])), "the-file", None)


def test_what_is_not_encrypted_stays_what_it_is() -> None:
    for data in (b"", b"age-encryption.org", b"\x28\xb5\x2f\xfd", b" age-encryption.org/v1\n"):
        file = io.BytesIO(data)
        assert decrypted(file, "x") == (file, False) and file.tell() == 0 and not is_encrypted(data)
    for version, why in (("v2", "of another version than v1"), ("v1", "not spelled as age spells it")):
        with pytest.raises(SealiftError, match=why):
            decrypted(io.BytesIO(b"age-encryption.org/%s\n---\n" % version.encode()), "x")


def test_closes_what_it_was_given() -> None:
    file, bad = io.BytesIO(SEEKED[0]), io.BytesIO(SEEKED[0][:-1] + b"!")
    opened, encrypted = decrypted(file, "x", lambda: [KEY])
    assert encrypted and opened.readable() and opened.seekable() and not opened.writable() and not file.closed
    opened.close()
    assert file.closed
    for keys in (None, lambda: [MediaKey.generate()]):
        file = io.BytesIO(SEEKED[0])
        with pytest.raises(SealiftError):
            decrypted(file, "x", keys)
        assert file.closed
    with pytest.raises(SealiftError), decrypted(bad, "x", lambda: [KEY])[0] as opened:
        opened.read()
    assert bad.closed


def test_reads_one_chunk_at_a_time_and_each_once() -> None:
    class Counted(io.BytesIO):
        taken = 0

        def read(self, size: int | None = -1, /) -> bytes:
            data = super().read(size)
            self.taken += len(data)
            return data

    plain = Counted(bytes(1000))
    assert decrypted(plain, "x") == (plain, False) and plain.taken <= 100
    file = Counted(SEEKED[0])
    raw = DecryptedFile(file, "x", lambda: [KEY])
    before, buffer = file.taken, bytearray(100)
    for place in (0, 70, 65500):
        assert raw.seek(place) == raw.tell() == place
        count = raw.readinto(buffer)
        assert bytes(buffer[:count]) == SEEKED[1][place : place + count] and count == min(100, 65536 - place)
    assert file.taken - before == 65552
    assert raw.seek(-5, io.SEEK_CUR) == 65531 and raw.seek(-70_000, io.SEEK_CUR) == 0


def test_reads_keys_among_comments_and_each_once() -> None:
    keys = [MediaKey.generate() for _ in range(16)]
    text = "# made today\n\n" + "".join(f"  {key.spelled()}  \r\n# public\n" for key in (*keys[:15], keys[3]))
    assert parse_keys(text, "x") == tuple(keys[:15])
    assert parse_keys("\n".join(key.spelled() for key in keys), "x") == tuple(keys)
    with pytest.raises(SealiftError) as caught:
        parse_keys(f"{keys[0].spelled()}\n\n#\n!\n", "the-file")
    assert caught.value.message.startswith("the-file is no file of media keys: line 4 is")


def test_a_key_does_not_show_itself() -> None:
    assert KEY.spelled() not in repr(KEY) + str(KEY) and repr(KEY._secret) not in repr(KEY)


def _wrapped(text: bytes) -> bytes:
    lines = [text[start : start + 64] for start in range(0, len(text), 64)]
    if not lines or len(lines[-1]) == 64:
        lines.append(b"")
    return b"".join(line + b"\n" for line in lines)


_FILE = AgeFile(KEY)
SEEKED = (_FILE.bytes(_FILE.chunks(bytes(range(200)) * 1000)), bytes(range(200)) * 1000)
