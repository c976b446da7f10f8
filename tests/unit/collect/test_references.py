"""References and sources: read as engines read them, or refused; never anything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bundler.collect.reference import Reference
from bundler.collect.sources import DockerArchive, InEngine, InRegistry, Layout, OciArchive, parse_source
from installer.errors import SealiftError

DIGEST = "sha256:" + "0123456789abcdef" * 4
BASE = Path("/base")


@pytest.mark.parametrize(
    ("text", "completed"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("nginx:1.27", "docker.io/library/nginx:1.27"),
        ("acme/web", "docker.io/acme/web:latest"),
        ("index.docker.io/nginx:1", "docker.io/library/nginx:1"),
        ("localhost/web:1", "localhost/web:1"),
        ("registry.internal:5000/lan-chat/gateway:2.1.0", "registry.internal:5000/lan-chat/gateway:2.1.0"),
        ("registry:5000/a", "registry:5000/a:latest"),
        ("[::1]:5000/a/b:c", "[::1]:5000/a/b:c"),
        (f"ghcr.io/a/b@{DIGEST}", f"ghcr.io/a/b@{DIGEST}"),
        (f"ghcr.io/a/b:1@{DIGEST}", f"ghcr.io/a/b:1@{DIGEST}"),
        ("Registry/web", "Registry/web:latest"),
    ],
)
def test_completes_a_reference_as_engines_do(text: str, completed: str) -> None:
    assert str(Reference.parse(text)) == completed


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "@",
        "web:",
        "web:-x",
        "web:" + "a" * 129,
        "Web",
        "a/../b",
        "a//b",
        "/a",
        "a/",
        "a b",
        "https://host/a",
        "host:99999999/a",
        "user@host/a",
        "a@sha256:abc",
        f"a@{DIGEST.upper()}",
        f"@{DIGEST}",
        "ex.ample/" + "a" * 250,
        "-host.x/a",
        "a\n",
        "ä/b",
    ],
)
def test_refuses_what_is_no_reference(text: str) -> None:
    with pytest.raises(SealiftError) as caught:
        Reference.parse(text)
    assert caught.value.id == "source-unsupported"


@given(st.text(alphabet=st.sampled_from("abz019AZ._-/:@[]% \n\u00e4"), max_size=60))
def test_whatever_is_accepted_is_spelled_in_one_way_and_cannot_leave_its_place(text: str) -> None:
    try:
        found = Reference.parse(text)
    except SealiftError as error:
        assert error.id == "source-unsupported"
        return
    assert Reference.parse(str(found)) == found
    assert re.fullmatch(r"[a-z0-9._/-]+", found.repository)
    assert not {"", ".", ".."} & set(found.repository.split("/"))
    assert not set("/@% \n") & set(found.host)


@given(st.text(max_size=60))
def test_any_text_is_a_source_or_refused(text: str) -> None:
    for kind in ("", "oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "docker://"):
        try:
            parse_source(kind + text, BASE)
        except SealiftError as error:
            assert error.id == "source-unsupported"


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("oci:a/b", Layout(BASE / "a/b")),
        ("oci:/a:web", Layout(Path("/a"), "web")),
        (f"oci:a@{DIGEST}", Layout(BASE / "a", None, DIGEST)),
        (f"oci:a:acme/web:1@{DIGEST}", Layout(BASE / "a", "acme/web:1", DIGEST)),
        ("oci-archive:a.tar:v1", OciArchive(BASE / "a.tar", "v1")),
        ("docker-archive:a.tar", DockerArchive(BASE / "a.tar")),
        ("docker-archive:a.tar:acme/web:1", DockerArchive(BASE / "a.tar", "acme/web:1")),
        ("docker-daemon:acme/web:1", InEngine("acme/web:1")),
        (f"docker-daemon:acme/web:1@{DIGEST}", InEngine("acme/web:1", DIGEST)),
        (f"docker-daemon:{DIGEST}", InEngine(DIGEST)),
        ("docker://h:1/a:b", InRegistry(Reference("h:1", "a", "b"))),
    ],
)
def test_reads_every_kind_of_source(text: str, source: object) -> None:
    assert parse_source(text, BASE) == source


@pytest.mark.parametrize(
    "text",
    [
        "web",
        "oci",
        "oci:",
        "docker:web",
        "docker:/web",
        "oci://a",
        f"oci:@{DIGEST}",
        "oci:a@sha256:12",
        "dir:a",
        "tar:a",
    ],
)
def test_refuses_what_is_no_source_and_names_those_that_are(text: str) -> None:
    with pytest.raises(SealiftError) as caught:
        parse_source(text, BASE)
    assert caught.value.id == "source-unsupported"
    assert "docker://" in caught.value.hint
