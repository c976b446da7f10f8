"""Site values against typed inputs."""

from __future__ import annotations

import pytest

from installer.bundle.release import Input
from installer.errors import SealiftError
from installer.site.values import resolve_values

INPUTS = {
    "smtp.host": Input(type="string", description="the mail relay,\n  by name"),
    "smtp.port": Input(type="integer", default=25),
    "smtp.tls": Input(type="boolean", default=False),
    "rooms": Input(type="list"),
}


def test_nests_dotted_names_and_fills_in_defaults() -> None:
    resolved = resolve_values(INPUTS, {"smtp.host": "mail.h7", "rooms": ["a", "b"]})

    assert resolved.nested == {"smtp": {"host": "mail.h7", "port": 25, "tls": False}, "rooms": ["a", "b"]}
    assert resolved.unknown == ()


def test_only_names_a_value_that_the_release_does_not_know() -> None:
    resolved = resolve_values({}, {"other.product": 1})

    assert resolved.nested == {}
    assert resolved.unknown == ("other.product",)


def test_names_all_missing_values_with_the_lines_to_write() -> None:
    with pytest.raises(SealiftError) as refused:
        resolve_values(INPUTS, {})

    assert refused.value.id == "site-value-missing"
    assert refused.value.exit_code == 7
    assert "rooms, smtp.host" in refused.value.message
    assert refused.value.details == (
        "values:",
        '  rooms: ["..."]',
        '  smtp.host: "..."  # the mail relay, by name',
    )
    assert all(line.strip() in refused.value.hint for line in refused.value.details[1:])


@pytest.mark.parametrize(
    ("name", "value"),
    [("smtp.host", 5), ("smtp.port", "25"), ("smtp.port", True), ("smtp.tls", "yes"), ("rooms", "a")],
)
def test_refuses_a_value_of_another_type(name: str, value: str | int | bool) -> None:
    given: dict[str, str | int | bool | list[str]] = {"smtp.host": "mail.h7", "rooms": ["a"]}
    with pytest.raises(SealiftError, match=f"the value {name} must be of type") as refused:
        resolve_values(INPUTS, given | {name: value})

    assert refused.value.id == "site-file-invalid"


@pytest.mark.parametrize("names", [("smtp", "smtp.host"), ("a.b", "a.b.c")])
def test_refuses_an_input_whose_name_begins_another(names: tuple[str, str]) -> None:
    with pytest.raises(SealiftError) as refused:
        resolve_values({name: Input(default="x") for name in names}, {})

    assert refused.value.id == "release-invalid"
