"""``docs/manifest.md`` says what is true."""

from __future__ import annotations

import re
from pathlib import Path

from bundler.manifest.recipe import PLACEHOLDERS, Recipe, parse_recipe
from bundler.manifest.version import CI_BRANCH


def test_example_is_a_manifest_that_shows_every_field(repository: Path) -> None:
    page = (repository / "docs/manifest.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    parse_recipe(example, "docs/manifest.md")
    fields = {field.alias or name for name, field in Recipe.model_fields.items()} - {"minimum_root_version"}
    assert {line.partition(":")[0] for line in example.splitlines() if line[0].isalpha()} == fields


def test_names_every_placeholder_and_variable(repository: Path) -> None:
    page = (repository / "docs/manifest.md").read_text()
    for name in (*(f"{{{{ {one} }}}}" for one in PLACEHOLDERS), *CI_BRANCH):
        assert f"`{name}`" in page
