"""The auditor's page and verifier: every command of the page as it stands, and one verdict with the product."""

from __future__ import annotations

import ast
import functools
import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO, ClassVar, Self

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bundler.build import Request, build
from bundler.built import Built
from bundler.signing.sign import generate
from installer.bundle.archive import BundleReader
from installer.bundle.roots import current
from installer.bundle.trust import TrustPolicy
from installer.errors import SealiftError
from installer.talk import Talk
from tests.unit.bundler.layouts import make_product
from tests.vectors.in_trust import pem_of
from tests.vectors.judge import NOW
from tests.vectors.write import write

pytestmark = pytest.mark.e2e
REPOSITORY = Path(__file__).resolve().parents[2]
AUDIT = REPOSITORY / "docs/audit"
VERIFIER = AUDIT / "verify_bundle.py"
MALFORMED, CORRUPT, UNTRUSTED, INCOMPATIBLE = 3, 4, 5, 6


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("keys")
    for name in ("release", "second", "stranger"):
        generate(folder, name, "word")
    return folder


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, keys: Path) -> Built:
    root = tmp_path_factory.mktemp("product")
    manifest = make_product(root)
    signers = (keys / "release.key", keys / "second.key")
    request = Request("v2.1.0", root, keys=signers, installer=manifest.parent / "install", output=root / "out")
    return build(request, lambda _: "word", Talk(quiet=True))


@pytest.fixture
def stick(built: Built, keys: Path, tmp_path: Path) -> Path:
    """A copy of the media folder as the page wants it: the key beside the bundle, and the verifier."""
    folder = tmp_path / "stick"
    shutil.copytree(built.kit, folder)
    shutil.copy(keys / "release.pub", folder)
    shutil.copy(VERIFIER, folder)
    return folder


class Unpacked:
    """``zstd -dcq``, started once for each frame."""

    known: ClassVar[dict[bytes, tuple[bytes, int]]] = {}

    def __init__(self, command: list[str], stdin: BinaryIO, **streams: int) -> None:
        frame = stdin.read()
        if frame not in self.known:
            stdin.seek(0)
            with subprocess.Popen(command, stdin=stdin, **streams) as zstd:  # type: ignore[call-overload]
                data = zstd.stdout.read(2**24)
            self.known[frame] = data, zstd.returncode
        data, self.returncode = self.known[frame]
        self.stdout = io.BytesIO(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """It has ended long ago."""


@pytest.fixture(scope="module")
def auditor() -> Any:
    """The verifier as a module: many bundles without a start of Python each, and of zstd for frames that they share."""
    spec = importlib.util.spec_from_file_location("verify_bundle", VERIFIER)
    assert spec and spec.loader
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.subprocess = SimpleNamespace(run=subprocess.run, Popen=Unpacked)
    module.openssl_verifies = functools.cache(module.openssl_verifies)
    return module


def verify(bundle: Path, *words: str | Path) -> tuple[int, list[str]]:
    """Run the verifier as an auditor does, without any installed package: exit code and lines."""
    command = [sys.executable, "-I", "-S", str(VERIFIER), *map(str, words), str(bundle)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, done.stdout.splitlines()


def commands() -> str:
    """Every command that the page prints, in its order."""
    return "\n".join(re.findall(r"^```sh\n(.*?)^```", (AUDIT / "README.md").read_text(), re.MULTILINE | re.DOTALL))


def follow_page(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the page's commands in a network namespace without any network but its own loopback."""
    alone = ["unshare", "--net", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    script = f"ip link set lo up\nset -eu\n{commands()}"
    environment = os.environ | {"HOME": str(folder.parent / "home")}
    return subprocess.run(
        [*alone, "sh", "-c", script], cwd=folder, env=environment, capture_output=True, text=True, timeout=120
    )


def replaced(stick: Path, data: bytes) -> None:
    """Put another bundle on the stick, with checksums that fit it: damage is not what is to be found."""
    bundle = next(stick.glob("*.bundle.tar.zst"))
    bundle.write_bytes(data)
    files = sorted(path.name for path in (bundle, *stick.glob("install*"), stick / "README.txt"))
    sums = subprocess.run(["sha256sum", *files], cwd=stick, capture_output=True, check=True).stdout
    (stick / "SHA256SUMS").write_bytes(sums)


def repacked(stick: Path, folder: Path, *more: str) -> bytes:
    """The unpacked bundle as a tar that stock tools take, whatever stands in it."""
    archive = folder.with_suffix(".tar.zst")
    members = subprocess.run(["tar", "--zstd", "-tf", next(stick.glob("*.zst"))], capture_output=True, check=True)
    names = [*members.stdout.decode().split(), *more]
    subprocess.run(["tar", "--zstd", "-cf", archive, "-C", folder, *names], check=True, timeout=60)
    return archive.read_bytes()


@pytest.fixture
def content(stick: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "altered"
    folder.mkdir()
    subprocess.run(["tar", "--zstd", "-xf", next(stick.glob("*.zst")), "-C", folder], check=True, timeout=60)
    return folder


# ---- the page


def test_every_command_of_the_page_works_as_printed(stick: Path) -> None:
    done = follow_page(stick)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("Verified OK") + done.stderr.count("Verified OK") == 3
    assert done.stdout.rstrip().endswith("GOOD: every byte is what the given keys have signed")


def test_page_uses_every_stock_tool() -> None:
    for tool in ("tar", "zstd", "sha256sum", "openssl", "cosign", "skopeo", "oras", "crane"):
        assert re.search(rf"(^|[(| ]){tool} ", commands(), re.MULTILINE), tool


def test_commands_refuse_the_key_of_a_stranger(stick: Path, keys: Path) -> None:
    shutil.copy(keys / "stranger.pub", stick / "release.pub")
    done = follow_page(stick)
    assert done.returncode != 0 and "GOOD" not in done.stdout
    assert "Verification failure" in done.stdout + done.stderr


def test_commands_refuse_altered_content(stick: Path, content: Path) -> None:
    (content / "docs/UPGRADE.md").write_text("other words\n")
    replaced(stick, repacked(stick, content))
    done = follow_page(stick)
    assert done.returncode != 0 and "docs/UPGRADE.md: FAILED" in done.stdout + done.stderr


def test_commands_refuse_a_file_that_nobody_listed(stick: Path, content: Path) -> None:
    (content / "docs/NEWS.md").write_text("more\n")
    replaced(stick, repacked(stick, content, "docs/NEWS.md"))
    done = follow_page(stick)
    assert done.returncode != 0 and "> docs/NEWS.md" in done.stdout


# ---- one verdict


ABOUT_THE_BUNDLE = {None, "wrong-product", "unsigned", "no-valid-signature", "threshold-not-met"}
ABOUT_THE_BUNDLE |= {"member-order", "member-repeated", "roots-too-many"}


def asked(vector: dict[str, Any], folder: Path, auditor: Any) -> tuple[list[bytes], int, str | None, int]:
    """Keys, threshold, product and expected exit code of a vector, for somebody who has keys and no root of trust."""
    plain = [auditor.load_key(folder / "release.pub")]
    if vector["needs_root"]:
        return carried(vector, folder, auditor) or (plain, 1, None, 0)
    if vector["key"]:
        return plain, 1, None, vector["exit_code"]
    if vector["error"] not in ABOUT_THE_BUNDLE:
        return plain, 1, None, 0  # the root is at fault; its bundle is good
    root = json.loads((folder / vector["root"]).read_bytes())["signed"]
    role, product = root["roles"]["targets"], root["x-sealift"]["product"]
    keys = []
    for keyid in (one for one in role["keyids"] if "public" in root["keys"][one]["keyval"]):
        (folder / "key.pub").write_text(root["keys"][keyid]["keyval"]["public"])
        keys.append(auditor.load_key(folder / "key.pub"))
    return keys, role["threshold"], None if product == "*" else product, vector["exit_code"]


def carried(vector: dict[str, Any], folder: Path, auditor: Any) -> tuple[list[bytes], int, str | None, int] | None:
    """The keys of the root that the media leads to; None where only the roots are at fault, and the release is good."""
    with BundleReader(folder / vector["bundle"]) as reader:
        try:
            policy = current(TrustPolicy.from_root((folder / vector["root"]).read_bytes(), "root"), reader.head.roots)
            policy.refuse_expired(NOW)
        except SealiftError:
            return None
    if vector["error"] in ("key-revoked", "roots-missing"):
        return None
    role, keys = policy.roles["release"], []
    for key in role.keys:
        (folder / "key.pub").write_bytes(pem_of(load_der_public_key(key.spki)).encode())
        keys.append(auditor.load_key(folder / "key.pub"))
    return keys, role.threshold, policy.product, vector["exit_code"]


def test_agrees_with_the_product_on_every_vector(tmp_path: Path, auditor: Any) -> None:
    write(tmp_path)
    vectors = json.loads((tmp_path / "expected.json").read_bytes())
    differ = []
    for vector in vectors:
        keys, threshold, product, code = asked(vector, tmp_path, auditor)
        found, reason = auditor.judge(tmp_path / vector["bundle"], keys, threshold, product)
        if found != code:
            differ.append(f"{vector['name']}: {code} expected, {found} found: {reason}")
    assert not differ
    assert len(vectors) >= 200


# ---- the verifier


def test_accepts_what_build_made(built: Built, keys: Path) -> None:
    code, lines = verify(built.bundle, "--key", keys / "release.pub")
    assert code == 0 and lines[-1].startswith("GOOD")
    for name, _ in built.assembly.release.members():
        assert any(line.startswith(f"ok  {name}:") for line in lines), name
    assert any(f"sha256:{built.digest.hex}" in line for line in lines)


def test_counts_different_keys_towards_the_threshold(built: Built, keys: Path) -> None:
    first, second, stranger = ([f"--key={keys / name}.pub"] for name in ("release", "second", "stranger"))
    assert verify(built.bundle, *first, *second, "--threshold=2")[0] == 0
    assert verify(built.bundle, *first, *stranger)[0] == 0
    assert verify(built.bundle, *first, *stranger, "--threshold=2")[0] == UNTRUSTED
    assert verify(built.bundle, *stranger)[0] == UNTRUSTED
    assert verify(built.bundle, *first, *first, "--threshold=2")[0] == 2
    assert verify(built.bundle, *first, "--threshold=0")[0] == 2


def test_refuses_another_product_when_told_which(built: Built, keys: Path) -> None:
    key = f"--key={keys / 'release.pub'}"
    assert verify(built.bundle, key, "--product=board")[0] == 0
    assert verify(built.bundle, key, "--product=another")[0] == INCOMPATIBLE


def test_refuses_what_tar_would_take(stick: Path, content: Path, keys: Path, tmp_path: Path) -> None:
    other = tmp_path / "repacked"
    other.write_bytes(repacked(stick, content))
    assert verify(other, f"--key={keys / 'release.pub'}")[0] == MALFORMED


def test_prints_nothing_of_a_file_that_nobody_trusted_has_signed(built: Built, keys: Path) -> None:
    _, lines = verify(built.bundle, f"--key={keys / 'stranger.pub'}")
    assert all("board" not in line and "signatures/" not in line for line in lines)


def test_refuses_damage_anywhere_or_finds_the_signed_bytes(
    built: Built, keys: Path, tmp_path: Path, auditor: Any
) -> None:
    good, damaged = built.bundle.read_bytes(), tmp_path / "damaged"
    trusted = [auditor.load_key(keys / f"{name}.pub") for name in ("release", "second")]
    codes: list[int] = []
    for at in range(0, len(good), len(good) // 150):
        for data in (good[:at] + bytes([good[at] ^ 0x20]) + good[at + 1 :], good[:at]):
            damaged.write_bytes(data)
            codes.append(auditor.judge(damaged, trusted, threshold=2)[0])
            if codes[-1] == 0:  # another spelling of the same bytes
                assert unpacked(damaged) == unpacked(built.bundle)
    assert set(codes) - {0} == {MALFORMED, CORRUPT, UNTRUSTED} and codes.count(0) < 10


def unpacked(bundle: Path) -> bytes:
    """The tar inside."""
    return subprocess.run(["zstd", "-dcq", bundle], capture_output=True, check=True).stdout


@pytest.mark.parametrize("length", range(6))
def test_calls_a_file_of_a_few_bytes_no_bundle(
    built: Built, keys: Path, tmp_path: Path, length: int, auditor: Any
) -> None:
    (tmp_path / "few").write_bytes(built.bundle.read_bytes()[:length])
    code, _ = auditor.judge(tmp_path / "few", [auditor.load_key(keys / "release.pub")])
    assert code == (MALFORMED if length < 5 else CORRUPT)


@pytest.mark.parametrize("more", [b"\0", b"x" * 512, bytes.fromhex("502a4d1800000000")])
def test_refuses_anything_behind_the_end(built: Built, keys: Path, tmp_path: Path, more: bytes) -> None:
    longer = tmp_path / "longer"
    longer.write_bytes(built.bundle.read_bytes() + more)
    assert verify(longer, f"--key={keys / 'release.pub'}")[0] == MALFORMED


def test_tells_media_that_cannot_be_read_from_what_is_no_file(keys: Path, tmp_path: Path) -> None:
    for path, wanted in ((tmp_path / "none", CORRUPT), (tmp_path, MALFORMED)):
        code, lines = verify(path, f"--key={keys / 'release.pub'}")
        assert code == wanted and lines[-1].startswith("REFUSED")


MEASURED = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(*[line for line in open("/proc/self/status") if line.startswith("VmHWM")])
"""


def bomb() -> bytes:
    """A head whose release.json, nobody's yet, is one frame of 8 MiB with blocks for a gibibyte."""
    block = (1 | 3 << 2 | 2**17 << 4).to_bytes(3, "little") + b"A\0"  # 128 KiB of one letter, no sequence
    count = 8 * 1024 + 8
    blocks = (((len(block) << 3 | 2 << 1 | (at == count - 1)).to_bytes(3, "little") + block) for at in range(count))
    frame = bytes.fromhex("28b52ffd8068") + (8 << 20).to_bytes(4, "little") + b"".join(blocks)
    info = tarfile.TarInfo("release.json")
    info.size = 8 << 20
    stored = bytes.fromhex("28b52ffd600001") + (512 << 3 | 1).to_bytes(3, "little") + info.tobuf(tarfile.GNU_FORMAT)
    return stored + frame


def test_holds_one_frame_whatever_a_file_unpacks_to(keys: Path, tmp_path: Path) -> None:
    (tmp_path / "bomb").write_bytes(bomb())
    words = [VERIFIER, "--key", keys / "release.pub", tmp_path / "bomb"]
    command = [sys.executable, "-I", "-S", "-c", MEASURED, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == CORRUPT
    assert int(done.stdout.split("VmHWM:")[1].split()[0]) < 64 * 1024


def test_takes_no_key_but_p256_in_one_spelling(built: Built, tmp_path: Path) -> None:
    for kind in (["-algorithm", "ED25519"], ["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"]):
        subprocess.run(["openssl", "genpkey", *kind, "-out", tmp_path / "key"], check=True, capture_output=True)
        public = ["openssl", "pkey", "-in", str(tmp_path / "key"), "-pubout", "-out", str(tmp_path / "key.pub")]
        subprocess.run(public, check=True)
        assert verify(built.bundle, f"--key={tmp_path / 'key.pub'}")[0] == 2
    (tmp_path / "key.pub").write_text("no key at all")
    assert verify(built.bundle, f"--key={tmp_path / 'key.pub'}")[0] == 2


def test_verifier_is_short_and_needs_only_the_standard_library() -> None:
    source = VERIFIER.read_text()
    assert len(source.splitlines()) < 300
    tree = ast.parse(source, feature_version=(3, 9))
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    taken = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    assert {name.split(".")[0] for name in plain + taken} <= set(sys.stdlib_module_names)


def test_verifier_shares_no_line_with_the_product() -> None:
    def lines(path: Path) -> set[str]:
        stripped = {line.strip() for line in path.read_text().splitlines()}
        return {line for line in stripped if len(line) > 30 and not line.startswith(("import ", "from "))}

    ours = set().union(
        *(lines(path) for folder in ("installer", "bundler") for path in (REPOSITORY / folder).rglob("*.py"))
    )
    assert lines(VERIFIER) & ours == set()
