"""Encrypted media: they show product and size, open for their recipients, and are judged as every other bundle."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import shutil
import subprocess
import tracemalloc
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from bundler.build import Request, build
from bundler.cli import main
from bundler.media.encrypt import MAX_RECIPIENTS, Cover, Encrypting, recipients_from, sealed_size
from bundler.media.pack import Packed, pack
from bundler.verification import inspect_media, verify_media
from installer.bundle.age import AgeHeader, MediaKey, bech32_text
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.encrypted import CHUNK, Unlock, decrypted
from installer.bundle.parts import PARTS_FILE
from installer.bundle.release import Release
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.media import open_media
from tests.unit.bundle.agefiles import LOW_ORDER
from tests.unit.bundler.faults import Faults, injected, killed_at
from tests.unit.bundler.layouts import make_product
from tests.unit.trust.keys import policy, root
from tests.unit.trust.media import QUIET, Stick, make_kit, write_key
from tests.vectors.catalogue import HOSTILE
from tests.vectors.judge import installed
from tests.vectors.vector import Vector

SITE, ESCROW = MediaKey.generate(), MediaKey.generate()
PART = 4096
RULE = policy("release")


def unlock() -> list[MediaKey]:
    return [SITE]


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_kit(tmp_path_factory.mktemp("product"), "release")


@pytest.fixture(scope="module")
def packed(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    return pack(kit, tmp_path_factory.mktemp("one"), None, QUIET, cover=Cover([SITE.recipient, ESCROW.recipient]))


@pytest.fixture(scope="module")
def cut(kit: Path, tmp_path_factory: pytest.TempPathFactory) -> Packed:
    made = pack(kit, tmp_path_factory.mktemp("parts"), PART, QUIET, cover=Cover([SITE.recipient]))
    assert made.parts > 2
    return made


def refusal(call: Callable[[], object]) -> SealiftError:
    with pytest.raises(SealiftError) as caught:
        call()
    return caught.value


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.bundle.tar.zst.age.[0-9]*"))


def test_shows_product_and_size_and_no_word_of_the_release(kit: Path, packed: Packed, cut: Packed) -> None:
    with BundleReader(locate_bundle(kit)) as reader:
        release = Release.parse(reader.head.release)
        told = reader.head.release + b"".join(reader.head.signatures.values())
    words = set(re.findall(rb"[A-Za-z0-9+/=._-]{5,}", told)) | {release.version.encode(), b"linux", b"amd64"}
    words |= set(re.findall(rb"[A-Za-z]{6,}", (kit / "README.txt").read_bytes().partition(b"What is new")[2]))
    words -= {b"board", b"sha256"}
    assert {b"2.1.0", packed.digest.hex.encode()} & words and len(words) > 50
    for made in (packed, cut):
        page = (made.kit / "README.txt").read_bytes()
        own = set(re.findall(rb"[A-Za-z0-9+/=._-]{5,}", page))  # the page is the same for every release
        seen = b"\n".join(
            [made.kit.name.encode()]
            + [path.name.encode() + b"\n" + path.read_bytes() for path in sorted(made.kit.iterdir())]
        )
        assert not {word for word in words - own if word in seen}
        assert {path.name.partition("-")[0] for path in made.kit.glob("*.age*")} == {"board"}
        assert {path.name for path in made.kit.iterdir()} - {PARTS_FILE, "README.txt", "SHA256SUMS"} == {
            path.name for path in made.kit.glob("*.age*")
        }


def test_its_page_is_the_same_for_every_release(kit: Path, packed: Packed, tmp_path: Path) -> None:
    other = pack(kit, tmp_path, None, QUIET, cover=Cover([ESCROW.recipient]))
    pages = {(made.kit / "README.txt").read_text().replace(made.first.name[:-4], "BUNDLE") for made in (packed, other)}
    assert len(pages) == 1 and packed.first.name != other.first.name


def test_opens_for_each_recipient_and_is_judged_as_in_the_clear(kit: Path, packed: Packed, cut: Packed) -> None:
    clear = verify_media(locate_bundle(kit), RULE, QUIET).as_json()
    for made, key in ((packed, SITE), (packed, ESCROW), (cut, SITE)):
        found = verify_media(made.kit, RULE, QUIET, unlock=lambda key=key: [MediaKey.generate(), key])  # type: ignore[misc]
        assert {**found.as_json(), "not_checked": []} == {**clear, "not_checked": []}
        media = open_media(made.kit, RULE, unlock=lambda key=key: [key])  # type: ignore[misc]
        assert (media.files, media.size) == (open_media(kit, RULE).files, locate_bundle(kit).stat().st_size)
        assert media.read([], progress=lambda _: None) == ()
    seen = inspect_media(packed.first, RULE, unlock=unlock)[1]
    assert seen["encrypted"] is True and seen["digest"] == str(packed.digest)


def test_without_its_key_it_is_refused_and_tells_nothing(packed: Packed, cut: Packed) -> None:
    for made in (packed, cut):
        for opener, wanted in ((None, "media-encrypted"), (lambda: [MediaKey.generate()], "media-key-wrong")):
            opened: Unlock | None = opener
            error = refusal(lambda made=made, opened=opened: verify_media(made.kit, RULE, QUIET, unlock=opened))  # type: ignore[misc]
            assert (error.id, error.exit_code) == (wanted, 7) and error.hint
            assert "2.1.0" not in error.message and "age1" not in error.message


def test_the_real_age_gives_back_the_bundle(kit: Path, packed: Packed, cut: Packed, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SITE.spelled() + "\n")
    joined = b"".join(part.read_bytes() for part in parts_of(cut.kit))
    for data in (packed.first.read_bytes(), joined):
        got = subprocess.run(["age", "-d", "-i", tmp_path / "key"], input=data, capture_output=True, check=True)
        assert got.stdout == locate_bundle(kit).read_bytes()
    for made in (packed, cut):
        subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=made.kit, check=True)


def test_what_age_itself_encrypted_is_taken_under_any_name(kit: Path, tmp_path: Path) -> None:
    place = tmp_path / "carried.bundle.tar.zst"
    plain = locate_bundle(kit).read_bytes()
    place.write_bytes(
        subprocess.run(["age", "-r", SITE.recipient], input=plain, capture_output=True, check=True).stdout
    )
    assert verify_media(place, RULE, QUIET, unlock=unlock).verified.digest
    renamed = place.rename(tmp_path / "clear.bundle.tar.zst.age")
    renamed.write_bytes(plain)
    assert verify_media(renamed, RULE, QUIET).verified.digest


def test_first_part_alone_is_enough_to_inspect(tmp_path: Path) -> None:
    manifest = make_product(tmp_path)
    (manifest.parent / "UPGRADE.md").write_bytes(os.urandom(300_000))
    keys = (write_key(tmp_path, "release"),)
    request = Request("v2.1.0", tmp_path, keys=keys, installer=manifest.parent / "install", output=tmp_path / "out")
    cut = pack(
        build(request, lambda _: "", QUIET).kit, tmp_path / "parts", 80 * 1024, QUIET, cover=Cover([SITE.recipient])
    )
    stick = Stick.of(cut.kit, tmp_path / "stick")
    for part in parts_of(stick.folder)[1:]:
        part.unlink()
    assert inspect_media(stick.folder, RULE, unlock=unlock)[1]["digest"] == str(cut.digest)


def test_asks_for_one_disc_after_the_other_in_order(cut: Packed, tmp_path: Path) -> None:
    stick = Stick.of(cut.kit, tmp_path / "x/stick")
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    rest = [part.rename(shelf / part.name).name for part in parts_of(stick.folder)[1:]]
    asked: list[str] = []

    def bring(name: str) -> bool:
        asked.append(name)
        shutil.copy(shelf / name, stick.folder / name)
        return True

    with BundleReader(stick.bundle, bring, unlock):
        assert asked == rest[: len(asked)]
    media = open_media(stick.folder, RULE, ask=bring, unlock=unlock)
    assert media.read([], progress=lambda _: None) == ()
    assert asked == rest


def test_a_missing_part_is_named_and_a_damaged_chunk_by_its_bytes(cut: Packed, tmp_path: Path) -> None:
    stick = Stick.of(cut.kit, tmp_path / "stick")
    second = parts_of(stick.folder)[1]
    data = second.read_bytes()
    second.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    error = refusal(lambda: verify_media(stick.folder, RULE, QUIET, unlock=unlock))
    assert (error.id, error.exit_code) == ("age-chunk", 4) and re.search(r"bytes \d+ to the end", error.message)
    assert second.name[:-4] in error.message
    second.unlink()
    assert refusal(lambda: verify_media(stick.folder, RULE, QUIET, unlock=unlock)).id == "part-missing"


def test_packs_back_into_the_clear_and_to_others(kit: Path, cut: Packed, tmp_path: Path) -> None:
    clear = pack(cut.kit, tmp_path / "clear", None, QUIET, cover=Cover(unlock=unlock))
    assert clear.first.read_bytes() == locate_bundle(kit).read_bytes()
    assert {path.name for path in clear.kit.iterdir()} == {clear.first.name, "signatures", "SHA256SUMS"}
    others = pack(cut.kit, tmp_path / "others", None, QUIET, cover=Cover([ESCROW.recipient], unlock))
    assert verify_media(others.kit, RULE, QUIET, unlock=lambda: [ESCROW]).verified.digest == cut.digest
    assert refusal(lambda: verify_media(others.kit, RULE, QUIET, unlock=unlock)).id == "media-key-wrong"


def test_folds_countersignatures_in_so_that_none_lies_beside(kit: Path, tmp_path: Path) -> None:
    stick = Stick.of(kit, tmp_path / "stick")
    stick.sign("customer")
    made = pack(stick.folder, tmp_path / "out", None, QUIET, cover=Cover([SITE.recipient]))
    both = verify_media(made.kit, policy("release", "customer", threshold=2), QUIET, unlock=unlock)
    assert sorted(signer.name for signer in both.verified.signers) == ["customer", "release"]
    assert not (made.kit / "signatures").exists()


def test_never_replaces_media_that_it_cannot_look_into(kit: Path, tmp_path: Path) -> None:
    first = pack(kit, tmp_path, None, QUIET, cover=Cover([SITE.recipient]))
    before = first.first.read_bytes()
    error = refusal(lambda: pack(kit, tmp_path, None, QUIET, cover=Cover([SITE.recipient])))
    assert error.id == "output-exists" and first.first.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["board-encrypted"]


def sealed(data: bytes) -> bytes:
    return bytes(pyrage.encrypt(data, [pyrage.x25519.Recipient.from_str(SITE.recipient)]))


def verdict(bundle: bytes, root: bytes) -> str | None:
    """As the judge of the vectors says, through encryption."""
    try:
        file, encrypted = decrypted(io.BytesIO(bundle), "x", unlock)
        assert encrypted
        installed(file, TrustPolicy.from_root(root, "root.json"))
    except SealiftError as error:
        return error.id
    return None


@pytest.mark.parametrize("start", range(8))
def test_every_hostile_bundle_is_refused_as_in_the_clear(start: int) -> None:
    def differs(vector: Vector) -> bool:
        return verdict(sealed(vector.bundle), vector.trusted) != vector.error

    assert not [vector.name for vector in HOSTILE[start::8] if differs(vector)]


def test_encrypting_to_a_host_is_no_signature(kit: Path, packed: Packed) -> None:
    error = refusal(lambda: verify_media(packed.kit, policy("stranger"), QUIET, unlock=unlock))
    assert (error.id, error.exit_code) == ("no-valid-signature", 5)


def test_every_flipped_byte_is_refused(packed: Packed, tmp_path: Path) -> None:
    data = packed.first.read_bytes()
    place = tmp_path / "x.bundle.tar.zst.age"
    ids = set()
    for number in (*range(600), *range(600, len(data), 40)):  # the header, and each byte of a file in test_age
        place.write_bytes(data[:number] + bytes([data[number] ^ 1 << number % 8]) + data[number + 1 :])
        ids.add(refusal(lambda: verify_media(place, RULE, QUIET, unlock=unlock)).id)
    assert ids <= {"not-a-bundle", "age-header", "age-altered", "age-chunk", "media-key-wrong", "truncated"}


@pytest.mark.parametrize(
    ("error", "sticky"),
    [(errno.ENOSPC, False), (errno.ENOSPC, True), (errno.EIO, False)],
    ids=["full-once", "full-sticky", "broken-once"],
)
def test_a_call_that_fails_leaves_nothing_wrong(kit: Path, tmp_path: Path, error: int, sticky: bool) -> None:
    def run() -> Packed:
        return pack(kit, tmp_path / "out", PART, QUIET, cover=Cover([SITE.recipient]))

    with injected(Faults()) as counted:
        run()
    assert counted.calls.count("write") >= 6
    for number in range(1, len(counted.calls) + 1):
        shutil.rmtree(tmp_path / "out")
        with injected(Faults(number, error, sticky)):
            try:
                run()
            except OSError as caught:
                assert caught.errno == error
        converges(tmp_path / "out", run)


def test_a_kill_at_any_call_leaves_nothing_wrong_and_nothing_in_the_clear(kit: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def run() -> Packed:
        return pack(kit, out, PART, QUIET, cover=Cover([SITE.recipient]))

    with injected(Faults()) as counted:
        run()
    for number in range(1, len(counted.calls) + 1):
        shutil.rmtree(out)
        assert killed_at(number, run)
        for path in out.rglob("*") if out.exists() else ():
            assert not path.is_file() or b"release.json" not in path.read_bytes()
        converges(out, run)


def converges(out: Path, run: Callable[[], object]) -> None:
    """What stands under the final name is whole; without one, packing again makes it. Nothing else is left then."""
    if not (out / "board-encrypted").exists():
        run()
    assert verify_media(out / "board-encrypted", RULE, QUIET, unlock=unlock)
    assert [path.name for path in out.iterdir()] == ["board-encrypted"]


class Stopped(io.RawIOBase):
    """A disk that is full after so many bytes."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.data, self._room = b"", room

    def write(self, data: object, /) -> int:
        assert isinstance(data, bytes)
        if len(self.data) + len(data) > self._room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.data += data
        return len(data)


def test_what_fails_behind_it_is_told_as_it_is() -> None:
    for size in (10, 300_000, 5_000_000):
        with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), Encrypting(Stopped(200), [SITE.recipient]) as out:
            out.write(bytes(size))


def test_what_broke_off_has_no_valid_end() -> None:
    place = Stopped(10**9)
    with pytest.raises(KeyboardInterrupt), Encrypting(place, [SITE.recipient]) as out:
        out.write(bytes(3 * CHUNK))
        raise KeyboardInterrupt
    error = refusal(decrypted(io.BytesIO(place.data), "x", unlock)[0].read)
    assert error.id in ("truncated", "age-chunk")


def test_memory_is_flat_and_the_size_is_foreseen(tmp_path: Path) -> None:
    size = 48 * 1024 * 1024
    place = tmp_path / "large"
    tracemalloc.start()
    with place.open("wb") as file, Encrypting(file, [SITE.recipient] * 1) as out:
        for _ in range(size // CHUNK):
            out.write(bytes(CHUNK))
    assert 0 < sealed_size(size) - place.stat().st_size < 70_000
    with decrypted(place.open("rb"), "x", unlock)[0] as plain:
        assert sum(map(len, iter(lambda: plain.read(1024 * 1024), b""))) == size
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SITE.recipient[:-1] + ("q" if SITE.recipient[-1] != "q" else "p"), "mistyped"),
        (SITE.recipient[:-2], "mistyped"),
        (SITE.recipient[:20] + SITE.recipient[20:].upper(), "mixes"),
        ("age1pq1" + "q" * 100, "of a kind"),
        ("age1yubikey1" + "q" * 50, "of a kind"),
        (bech32_text("age", LOW_ORDER), "no point"),
        (bech32_text("age", bytes(32)), "no point"),
    ],
    ids=["checksum", "cut off", "mixed case", "post-quantum", "plugin", "low order", "zero"],
)
def test_refuses_a_recipient_that_is_none(text: str, why: str, tmp_path: Path) -> None:
    error = refusal(lambda: recipients_from([text]))
    assert (error.id, error.exit_code) == ("recipient-invalid", 2) and why in error.message
    (tmp_path / "list").write_text(f"# sites\n\n{text}\n")
    error = refusal(lambda: recipients_from([str(tmp_path / "list")]))
    assert "line 3 of" in error.message and why in error.message


def test_refuses_other_kinds_in_a_list_and_passphrases_by_name(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIHsKLqeplhpW+uObz5dvMgjz1OxfM/XXUB+VHtZ6isGN x\n"
    )
    assert "of a kind" in refusal(lambda: recipients_from([str(tmp_path / "list")])).message
    assert refusal(lambda: recipients_from(["hunter2"])).id == "input-missing"
    (tmp_path / "empty").write_text("# nobody\n")
    assert "no recipients" in refusal(lambda: recipients_from([str(tmp_path / "empty")])).message


def test_a_private_key_named_by_mistake_is_refused_and_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SITE.spelled() + "\n")
    for value in (SITE.spelled(), SITE.spelled().lower(), str(tmp_path / "key")):
        error = refusal(lambda value=value: recipients_from([value]))  # type: ignore[misc]
        assert "private key" in error.message and SITE.spelled()[-20:] not in (error.message + error.hint).upper()


def test_recipients_count_once_from_options_and_lists_up_to_a_bound(tmp_path: Path) -> None:
    (tmp_path / "list").write_text(f"# two\n{SITE.recipient}\n\n {ESCROW.recipient} \n")
    named = recipients_from([str(tmp_path / "list"), SITE.recipient.upper(), ESCROW.recipient])
    assert named == (SITE.recipient, ESCROW.recipient)
    many = [MediaKey.generate() for _ in range(MAX_RECIPIENTS + 1)]
    assert refusal(lambda: recipients_from(key.recipient for key in many)).id == "recipient-invalid"
    sink = io.BytesIO()
    with Encrypting(sink, recipients_from(key.recipient for key in many[1:])) as out:
        out.write(b"content")
    sink.seek(0)
    assert len(AgeHeader.read(sink).stanzas) >= MAX_RECIPIENTS
    for key in (many[1], many[-1]):
        sink.seek(0)
        file = decrypted(io.BytesIO(sink.getvalue()), "x", lambda key=key: [key])[0]  # type: ignore[misc]
        assert file.read() == b"content"


def test_the_order_of_recipients_does_not_tell_who_is_who() -> None:
    keys = [MediaKey.generate() for _ in range(6)]
    places = set()
    for _ in range(12):
        sink = io.BytesIO()
        with Encrypting(sink, [key.recipient for key in keys]) as out:
            out.write(b"x")
        sink.seek(0)
        stanzas = AgeHeader.read(sink).stanzas
        shares = [unpadded(stanza.arguments[1]) for stanza in stanzas if stanza.arguments[0] == "X25519"]
        bodies = [stanza.body for stanza in stanzas if stanza.arguments[0] == "X25519"]
        places.add(next(n for n in range(6) if keys[0].unwrap(shares[n], bodies[n])))
    assert len(places) > 1


def unpadded(text: str) -> bytes:
    return b64decode(text + "=" * (-len(text) % 4))


def test_on_the_command_line(kit: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "site.key").write_text(SITE.spelled() + "\n")
    (tmp_path / "sites").write_text(SITE.recipient + "\n")
    out = ["--output", str(tmp_path / "out")]
    assert (
        main(["--json", "pack", str(kit), "--encrypt-to", str(tmp_path / "sites"), "--part-size", "64KiB", *out]) == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["encrypted_to"] == [SITE.recipient] and told["kit"].endswith("board-encrypted")
    assert main(["--json", "inspect", told["kit"]]) == 7
    assert json.loads(capsys.readouterr().out)["error"]["id"] == "media-encrypted"
    key = kit.parent.parent / "release.pub"
    identity = ["--identity", str(tmp_path / "site.key")]
    assert main(["--json", "inspect", told["kit"], *identity]) == 0
    assert json.loads(capsys.readouterr().out)["encrypted"] is True
    assert main(["parts", told["kit"]]) == 0
    assert main(["inspect", told["kit"], "--identity", str(tmp_path / "gone")]) == 2
    assert main(["pack", told["kit"], *identity, "--output", str(tmp_path / "clear")]) == 0
    assert SITE.spelled() not in capsys.readouterr().out and not key.exists()


# Verbs that take media in the clear alone


@pytest.mark.parametrize(
    ("verb", "word"),
    [
        (("push", "FILE", "oci://127.0.0.1:1/releases/board:v1"), "registry"),
        (("pack", "CLEAR", "--since", "FILE", "--output", "OUT"), "delta"),
        (("verify", "CLEAR", "--trust", "ROOT", "--have", "FILE"), "delta"),
        (("repair", "FILE", "--from", "CLEAR"), "repair"),
        (("repair", "CLEAR", "--from", "FILE"), "repair"),
    ],
    ids=["push", "since", "have", "repair", "from"],
)
def test_what_needs_media_in_the_clear_says_so_and_what_to_do(
    kit: Path,
    packed: Packed,
    cut: Packed,
    tmp_path: Path,
    verb: tuple[str, ...],
    word: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for file in (packed.kit, packed.first, cut.kit, cut.first):
        before = {path: path.read_bytes() for path in (*kit.iterdir(), *file.parent.iterdir()) if path.is_file()}
        places = {"FILE": file, "CLEAR": kit, "ROOT": kit.parents[1] / "root.json", "OUT": tmp_path}
        (kit.parents[1] / "root.json").write_bytes(root("release"))
        assert main(["--json", *(str(places.get(one, one)) for one in verb)]) == 7
        error = json.loads(capsys.readouterr().out)["error"]
        assert error["id"] == "media-encrypted" and word in error["message"] and "bundle pa" in error["hint"]
        assert {path: path.read_bytes() for path in before} == before and list(tmp_path.iterdir()) == []
