"""Templates: what they see, what they may cost, how they are refused."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from installer.errors import SealiftError
from installer.site.render import compose_name, render, template_root
from installer.site.site import parse_site
from tests.unit.site.builders import release_of

SITE = parse_site("{site: hospital-7, cluster_id: h7, peers: [10.1.0.5, 10.1.0.6], values: {smtp.host: mail.h7}}")


def rendered(template: str, **files: bytes) -> str:
    """What a compose template of this text becomes."""
    release = release_of(inputs={"smtp.host": {}, "items": {"default": "three"}})
    result = render(
        release,
        SITE,
        {"compose.yaml.j2": template.encode(), **files},
        {"note-board": "127.0.0.1:5000/note-board@sha256:00"},
        {"db-password": "/run/secrets/db-password"},
    )
    return result["compose.yaml"].decode()


def refusal(template: str, **files: bytes) -> SealiftError:
    """The error that rendering this text ends with."""
    with pytest.raises(SealiftError) as refused:
        rendered(template, **files)
    return refused.value


def test_knows_where_the_templates_of_a_release_are() -> None:
    assert template_root(release_of()) == "templates/note-board/"
    assert compose_name(release_of()) == "compose.yaml"


def test_offers_release_site_values_images_and_secret_paths() -> None:
    template = (
        "{{ product }} {{ version }} {{ site }} {{ environment }} {{ cluster_id }} {{ peers | join(',') }} "
        "{{ values.smtp.host }} {{ values.items }} {{ images.note_board }} {{ images['note-board'] }} "
        "{{ secrets.db_password }}"
    )
    assert rendered(template) == (
        "note-board 1.2.0 hospital-7 prod h7 10.1.0.5,10.1.0.6 mail.h7 three "
        "127.0.0.1:5000/note-board@sha256:00 127.0.0.1:5000/note-board@sha256:00 /run/secrets/db-password"
    )


def test_keeps_the_last_newline_and_escapes_nothing() -> None:
    assert rendered("{{ '<&>' }}\n") == "<&>\n"


def test_copies_what_is_no_template_and_leaves_out_what_is_only_included() -> None:
    result = render(
        release_of(),
        SITE,
        {"compose.yaml.j2": b"{% include '_head.j2' %}", "_head.j2": b"{{ product }}", "logo.png": b"\x89PNG\xff"},
        {},
        {},
    )
    assert result == {"compose.yaml": b"note-board", "logo.png": b"\x89PNG\xff"}


def test_names_file_and_line_of_an_undefined_value() -> None:
    error = refusal("a: 1\nb: {{ values.smtp.hosst }}\n")

    assert error.id == "template-invalid"
    assert error.exit_code == 2
    assert "compose.yaml.j2:2" in error.message
    assert "hosst" in error.message


def test_names_file_and_line_inside_an_included_template() -> None:
    error = refusal("{% include 'part.j2' %}", **{"part.j2": b"\n\n{{ 1 / 0 }}"})

    assert "part.j2:3" in error.message


def test_names_file_and_line_of_a_syntax_error() -> None:
    assert "compose.yaml.j2:2" in refusal("a: 1\n{% if %}\n").message


def test_names_a_secret_that_the_site_lacks() -> None:
    error = refusal("{{ secrets.ldap }}")

    assert error.id == "secret-missing"
    assert "ldap: {file:" in error.hint


@pytest.mark.parametrize(
    "template",
    [
        "{{ ''.__class__.__mro__ }}",
        "{{ product.__init__ }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ self.__init__ }}",
        "{{ peers.append('x') and 1 }}{{ [].__class__ }}",
        "{% include '/etc/passwd' %}",
        "{% include '../secret' %}",
        "{{ '{0.__class__}'.format(1) }}",
        "{{ lipsum() }}",
    ],
)
def test_refuses_a_template_that_looks_beyond_what_it_is_given(template: str) -> None:
    assert refusal(template).id == "template-invalid"


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(1000000000) %}x{% endfor %}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% set count_pass = 1 %}{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{% for i in range(90000) %}" + "x" * 100 + "{% endfor %}",
        "{{ 'x' * 10**9 }}",
        "{{ 9 ** 999999999 }}",
        "{{ '%999999999d' % 1 }}",
        "{{ '%999999999d' | format(1) }}",
        "{{ '%*d' | format(999999999, 1) }}",
        "{{ '{:>999999999}'.format(1) }}",
        "{{ 'x' | center(999999999) }}",
        "{{ 'x'.center(999999999) }}",
        "{{ ('x' * 9999).replace('x', 'y' * 9999) }}",
        "{{ ('x' * 9999) | replace('x', 'y' * 9999) }}",
        "{{ [1] | batch(999999999, 0) | list }}",
        "{{ 1.5 | round(999999999, 'floor') }}",
        "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{% set ns = namespace(x='x') %}{% for i in range(60) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x %}{{ n.x }}{{ n.x }}{% endset %}{% endfor %}",
        "{% set ns = namespace(x=9) %}{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% macro f(n) %}{{ f(n - 1) }}{{ f(n - 1) }}{% endmacro %}{{ f(1) }}",
        "{% include 'compose.yaml.j2' %}{% include 'compose.yaml.j2' %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    ],
)
def test_refuses_a_template_that_costs_too_much(template: str) -> None:
    start = time.process_time()
    error = refusal(template)

    assert error.id == "template-invalid"
    assert time.process_time() - start < 60  # without a bound: for ever


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("{{ 1 ~ 2 ~ 'x' }}", "12x"),
        ("{{ '%02d' % 7 }}{{ '%s-%s' | format(1, 2) }}", "071-2"),
        ("{{ 'a,b'.split(',') | join('+') }}", "a+b"),
        ("{{ 'a\nb' | indent(2) }}", "a\n  b"),
        ("{{ {'a': 1} | tojson }}", '{"a": 1}'),
        ("{% for p in peers %}{{ loop.index * 2 }}{{ p }};{% endfor %}", "210.1.0.5;410.1.0.6;"),
        ("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(3) }}{{ 2 ** 10 }}", "<3>1024"),
        ("{% set t %}{{ product }}!{% endset %}{{ t }}", "note-board!"),
        ("{{ 'x' * 3 + 'y' }}", "xxxy"),
        ("{{ 3.14159 | round(2) }}", "3.14"),
        ("{{ secrets.get('ldap') or 'none' }}", "none"),
    ],
)
def test_leaves_ordinary_expressions_alone(template: str, text: str) -> None:
    assert rendered(template) == text


def test_refuses_two_templates_with_one_result() -> None:
    assert refusal("x", **{"compose.yaml": b"y"}).id == "template-invalid"


def test_refuses_a_result_that_would_lie_over_the_installers_own() -> None:
    assert refusal("x", **{"sealift.blue.yaml": b"y"}).id == "template-invalid"


def test_refuses_when_the_compose_file_is_not_there() -> None:
    with pytest.raises(SealiftError, match="the compose file is not among"):
        render(release_of(), SITE, {"other.j2": b""}, {}, {})


@given(st.text(alphabet="{}%# ~+*()'a1|.\n[]", max_size=40))
def test_ends_in_a_result_or_a_refusal_whatever_the_template(template: str) -> None:
    try:
        rendered(template)
    except SealiftError as error:
        assert error.id == "template-invalid"
