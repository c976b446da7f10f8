"""Private keys stay private and sign the same way each time; roots say who may sign what."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bundler.signing.sign import KeyFile, generate, load_key, load_keys, passphrase_from
from bundler.trust.trust import NamedKey, RootPlan, make_root
from installer.bundle.trust import PublicKey, TrustPolicy
from installer.errors import SealiftError

EXPIRES = datetime(2036, 1, 1, tzinfo=UTC)


def word(_: Path) -> str:
    return "word"


def plain_key(path: Path, form: PrivateFormat = PrivateFormat.PKCS8) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    path.write_bytes(key.private_bytes(Encoding.PEM, form, NoEncryption()))
    return path


def keys_of(tmp_path: Path, *names: str) -> list[KeyFile]:
    return [load_key(plain_key(tmp_path / f"{name}.key"), word) for name in names]


def named(*keys: KeyFile) -> list[NamedKey]:
    return [NamedKey(key.spki, key.name) for key in keys]


def test_signature_is_valid_and_the_same_each_time(tmp_path: Path) -> None:
    (key,) = keys_of(tmp_path, "release")
    assert key.sign(b"payload") == key.sign(b"payload")
    assert PublicKey(key.spki, "k").accepts(key.sign(b"payload"), b"payload")
    assert not PublicKey(key.spki, "k").accepts(key.sign(b"payload"), b"other")


@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_reads_plain_keys_without_asking_for_a_passphrase(tmp_path: Path, form: PrivateFormat) -> None:
    def never(_: Path) -> str:
        raise AssertionError("nobody must be asked")

    assert load_key(plain_key(tmp_path / "k.key", form), never).name == "k"


def test_generated_key_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    made, private, _ = generate(tmp_path, "release", "word")
    assert load_key(private, word).spki == made.spki
    with pytest.raises(SealiftError) as caught:
        load_key(private, lambda _: "other")
    assert caught.value.id == "passphrase-wrong"


def test_key_never_shows_in_its_representation(tmp_path: Path) -> None:
    (key,) = keys_of(tmp_path, "release")
    assert "EllipticCurve" not in repr(key)


def test_refuses_an_empty_passphrase(tmp_path: Path) -> None:
    with pytest.raises(SealiftError) as caught:
        generate(tmp_path, "release", "")
    assert caught.value.id == "passphrase-needed"


def test_refuses_one_key_named_twice(tmp_path: Path) -> None:
    path = plain_key(tmp_path / "a.key")
    (tmp_path / "b.key").write_bytes(path.read_bytes())
    with pytest.raises(SealiftError):
        load_keys([path, tmp_path / "b.key"], word)


def test_two_keys_of_one_name_get_names_of_their_own(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        (tmp_path / folder).mkdir()
    paths = [plain_key(tmp_path / folder / "release.key") for folder in ("x", "y")]
    assert len({key.name for key in load_keys(paths, word)}) == 2


def test_file_name_becomes_a_name_that_a_signature_can_have(tmp_path: Path) -> None:
    (key,) = keys_of(tmp_path, "Release Key (2026)")
    assert key.name == "release-key-2026"


def test_passphrase_comes_from_the_file_first_then_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_terminal(question: str, option: str) -> str:
        raise SealiftError("answer-needed", question, hint=option)

    (tmp_path / "word").write_text("from file\n")
    monkeypatch.setenv("SEALIFT_PASSPHRASE", "from environment")
    assert passphrase_from(tmp_path / "word", no_terminal)(tmp_path) == "from file"
    assert passphrase_from(None, no_terminal)(tmp_path) == "from environment"
    monkeypatch.delenv("SEALIFT_PASSPHRASE")
    with pytest.raises(SealiftError) as caught:
        passphrase_from(None, no_terminal)(tmp_path)
    assert caught.value.id == "passphrase-needed"


def test_root_is_accepted_by_the_site_and_trusts_just_those_keys(tmp_path: Path) -> None:
    root, release, stranger = keys_of(tmp_path, "root", "release", "stranger")
    policy = TrustPolicy.from_root(make_root(RootPlan(named(release), product="chat"), [root], EXPIRES), "root.json")
    assert (policy.product, policy.root_version, policy.expires) == ("chat", 1, EXPIRES)
    for role in ("release", "installer", "permit"):
        (signer,) = policy.judge(role, b"payload", {"a": release.signature_file(b"payload")})
        assert signer.name == "release"
    for wrong in (stranger, root):
        with pytest.raises(SealiftError) as caught:
            policy.judge("release", b"payload", {"a": wrong.signature_file(b"payload")})
        assert caught.value.id == "no-valid-signature"


def test_installer_and_permits_can_have_keys_of_their_own(tmp_path: Path) -> None:
    root, release, program = keys_of(tmp_path, "root", "release", "program")
    plan = RootPlan(named(release), installer=named(program))
    policy = TrustPolicy.from_root(make_root(plan, [root], EXPIRES), "root.json")
    assert policy.judge("installer", b"p", {"a": program.signature_file(b"p")})
    with pytest.raises(SealiftError):
        policy.judge("installer", b"p", {"a": release.signature_file(b"p")})


def test_threshold_counts_distinct_signers(tmp_path: Path) -> None:
    root, one, two = keys_of(tmp_path, "root", "one", "two")
    raw = make_root(RootPlan(named(one, two), threshold=2), [root], EXPIRES)
    policy = TrustPolicy.from_root(raw, "root.json")
    twice = {"a": one.signature_file(b"p"), "b": one.signature_file(b"p")}
    with pytest.raises(SealiftError) as caught:
        policy.judge("release", b"p", twice)
    assert caught.value.id == "threshold-not-met"
    assert len(policy.judge("release", b"p", {"a": one.signature_file(b"p"), "b": two.signature_file(b"p")})) == 2


def test_same_keys_and_plan_make_the_same_root(tmp_path: Path) -> None:
    root, release = keys_of(tmp_path, "root", "release")
    plan = RootPlan(named(release))
    assert make_root(plan, [root], EXPIRES) == make_root(plan, [root], EXPIRES)


@pytest.mark.parametrize(
    ("threshold", "root_threshold", "doubled"),
    [(0, 1, False), (2, 1, False), (1, 0, False), (1, 2, False), (1, 1, True)],
)
def test_refuses_a_root_that_could_never_vouch_or_always(
    tmp_path: Path, threshold: int, root_threshold: int, doubled: bool
) -> None:
    root, release = keys_of(tmp_path, "root", "release")
    keys = named(release, release) if doubled else named(release)
    with pytest.raises(SealiftError) as caught:
        make_root(RootPlan(keys, threshold=threshold, root_threshold=root_threshold), [root], EXPIRES)
    assert caught.value.id == "root-invalid"
