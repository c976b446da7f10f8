"""The values that documents consist of, each from both sides of its rule, and how a report becomes an id and a line."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from installer.bundle import fields
from installer.bundle.paths import MAX_PATH, folders, path_fault
from installer.bundle.problems import first_problem, only_problem, problem_id, shown


def problem(kind: Any, value: object) -> ValidationError | None:
    """What the library reports of that value."""
    try:
        assert TypeAdapter(kind).validate_python(value) == value
    except ValidationError as error:
        return error
    return None


@pytest.mark.parametrize(
    ("kind", "value", "error_id"),
    [
        (fields.SemVer, "1.2.3-rc.1", None),
        (fields.SemVer, "1.2.3+build", "release-invalid"),
        (fields.SemVer, "1.2.3\n", "release-invalid"),
        (fields.SemVer, "1.2", "release-invalid"),
        (fields.Path, "docs/de/x.md", None),
        (fields.Path, "a" * MAX_PATH, None),
        (fields.Path, "a" * (MAX_PATH + 1), "path-spelling"),
        (fields.Path, "docs/../x", "path-climbing"),
        (fields.Path, "docs/./x", "path-spelling"),
        (fields.Path, "/docs", "path-absolute"),
        (fields.Path, "docs//x", "path-spelling"),
        (fields.DigestText, "sha256:" + "0" * 64, None),
        (fields.DigestText, "sha256:" + "0" * 63, "release-digest"),
        (fields.Reference, "registry/a/b:1", None),
        (fields.Reference, "a//b", "release-reference"),
        (fields.Reference, "a/./b", "release-reference"),
        (fields.Reference, "a/../b", "release-reference"),
        (fields.Reference, "a/", "release-reference"),
        (fields.Text, "Zeile\n\teins ä", None),
        (fields.Text, "a\x1b[2J", "release-text"),
        (fields.Text, "a\u202eb", "release-text"),
        (fields.Text, "a\u2028b", "release-text"),
        (fields.Text, "a\u2800b", "release-text"),
        (fields.Text, "a\rb", "release-text"),
        (fields.Size, 2**50, None),
        (fields.Size, 2**50 + 1, "size-overflow"),
        (fields.Size, 0, None),
        (fields.Size, -1, "size-negative"),
        (fields.TcpPlace, ":65535", None),
        (fields.TcpPlace, ":65536", "release-invalid"),
        (fields.HttpPlace, ":65535/health/65536", None),
        (fields.HttpPlace, ":65536/health", "release-invalid"),
        (fields.Instant, "2026-11-28T23:59:59Z", None),
        (fields.Instant, "2026-11-31T00:00:00Z", "release-invalid"),
        (fields.Instant, "2026-11-28T24:00:00Z", "release-invalid"),
    ],
)
def test_value_is_taken_or_refused_by_its_own_id(kind: Any, value: object, error_id: str | None) -> None:
    found = problem(kind, value)
    assert (problem_id(found) if found else None) == error_id
    if found:
        line = first_problem(found)
        assert line.startswith("document: ") and line.isprintable() and "None" not in line and "XX" not in line


@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({}, True),
        ({"type": "string", "default": "x"}, True),
        ({"type": "integer", "default": 1}, True),
        ({"type": "boolean", "default": True}, True),
        ({"type": "list"}, True),
        ({"type": "integer", "default": True}, False),
        ({"type": "boolean", "default": 0}, False),
        ({"type": "string", "default": 0}, False),
        ({"type": "integer", "default": ""}, False),
        ({"type": "list", "default": "a"}, False),
    ],
)
def test_default_of_an_input_is_of_its_type(given: dict[str, object], taken: bool) -> None:
    try:
        assert fields.Input(**given).default == given.get("default")  # type: ignore[arg-type]
        found = True
    except ValidationError as error:
        found = False
        assert first_problem(error) == f"document: a default that is no {given['type']}"
    assert found == taken


@pytest.mark.parametrize(
    ("path", "fault"),
    [
        ("a", None),
        ("A-b_c.d/e", None),
        ("a" * MAX_PATH, None),
        ("a" * (MAX_PATH + 1), "path-spelling"),
        ("", "path-spelling"),
        ("a\n", "path-spelling"),
        ("a//b", "path-spelling"),
        ("./a", "path-spelling"),
        ("a/.", "path-spelling"),
        ("a\\b", "path-spelling"),
        ("ä", "path-spelling"),
        ("/a", "path-absolute"),
        ("\\a", "path-absolute"),
        ("c:/a", "path-absolute"),
        ("c:\\a", "path-absolute"),
        ("..", "path-climbing"),
        ("a/..", "path-climbing"),
        ("a\\..\\b", "path-climbing"),
        ("a..b/...", None),
        ("cc:/a", "path-spelling"),
    ],
)
def test_path_has_one_fault_or_none(path: str, fault: str | None) -> None:
    assert path_fault(path) == fault


def test_knows_the_folders_that_a_path_lies_in() -> None:
    assert folders("x") == []
    assert folders("docs/de/x.md") == ["docs", "docs/de"]


def test_what_comes_from_outside_is_shown_in_one_short_line_without_controls() -> None:
    assert shown("a" * 301) == "a" * 300
    assert shown("ä\n\x1b\u202e'") == "ä\\n\\x1b\\u202e'"


def test_report_of_the_library_becomes_an_id_and_a_line_with_the_place() -> None:
    class Inner(fields.Closed):
        size: fields.Size

    class Outer(fields.Closed):
        parts: tuple[Inner, ...]

    def found(value: dict[str, object]) -> ValidationError:
        with pytest.raises(ValidationError) as caught:
            Outer.model_validate(value)
        return caught.value

    more = found({"parts": (), "more": 1})
    assert (problem_id(more), only_problem(more, "extra_forbidden"), only_problem(more, "missing")) == (
        "release-unknown-field",
        True,
        False,
    )
    assert first_problem(more).startswith("more: ")
    lacking = found({"parts": ({},)})
    assert (problem_id(lacking), first_problem(lacking)) == ("release-missing-field", "parts.0.size: Field required")
    assert problem_id(found({"parts": 7})) == "release-invalid"
