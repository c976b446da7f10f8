"""``bundle lint``: everything that build would refuse, without building."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from jinja2 import Environment, TemplateSyntaxError

from bundler.build import Draft, Request, collect_files, draft, wished, wished_charts
from bundler.collect.content import read_whole
from bundler.collect.files import CollectedFile
from bundler.collect.images import Sources, open_sources
from bundler.manifest.changelog import UNRELEASED, sections
from bundler.manifest.recipe import find_manifest, load_recipe
from bundler.manifest.registries import registry_settings
from bundler.writing.assemble import refuse_twins
from installer.errors import SealiftError
from installer.talk import Talk

MAX_TEMPLATE = 1024 * 1024


def lint(root: Path, manifest: Path | None, version: str | None, talk: Talk) -> Draft:
    """Check a manifest at ``version``; without one at the newest of its changelog, and then without asking git.

    Raises the first problem, with the others as its details.
    """
    manifest = manifest or find_manifest(root)
    recipe = load_recipe(manifest)
    request = Request(
        version or _newest(manifest.parent / recipe.changelog), root, manifest, platform=recipe.platforms[0]
    )
    found = draft(request, ask_git=version is not None)
    problems = list(_problems(found, talk))
    if problems:
        first, *others = problems
        details = (*first.details, *(f"{other.message} ({other.id})" for other in others))
        raise SealiftError(first.id, first.message, hint=first.hint, details=details)
    return found


def _problems(found: Draft, talk: Talk) -> Iterator[SealiftError]:
    """What is wrong with files, templates and images, one at a time."""
    files: list[CollectedFile] = []
    checks: list[Callable[[], None]] = [lambda: files.extend(collect_files(found, None))]
    settings = registry_settings(found.recipe, found.base, os.environ)
    with open_sources(talk, None, settings) as sources:
        checks += [partial(_check_image, found, name, sources) for name in sorted(found.recipe.sources())]
        checks.append(lambda: files.extend(wished_charts(found, sources)))
        yield from _failures(checks)
    if files:
        templates = [file for file in files if file.file.role == "template"]
        yield from _failures([partial(_check_template, file) for file in templates])
        yield from _failures([partial(_check_deploy, found, templates), partial(refuse_twins, files)])


def _failures(checks: list[Callable[[], None]]) -> Iterator[SealiftError]:
    for check in checks:
        try:
            check()
        except SealiftError as error:
            yield error


def _check_image(found: Draft, name: str, sources: Sources) -> None:
    sources.check(*wished(found, name))


def _check_template(file: CollectedFile) -> None:
    """Its syntax, where it is a template at all."""
    path = file.file.path
    if not path.endswith(".j2"):
        return
    try:
        Environment(autoescape=False).parse(read_whole(file.content, MAX_TEMPLATE, path).decode("utf-8"))  # noqa: S701
    except TemplateSyntaxError as error:
        raise SealiftError(
            "template-invalid", f"{path}:{error.lineno}: {error.message}", hint="mend the template"
        ) from error
    except UnicodeDecodeError as error:
        raise SealiftError("template-invalid", f"{path} is not UTF-8", hint="save it as UTF-8") from error


def _check_deploy(found: Draft, templates: list[CollectedFile]) -> None:
    wanted = f"templates/{found.recipe.deploy.below_templates}"
    if all(file.file.path != wanted for file in templates):
        raise SealiftError(
            "manifest-invalid", f"deploy.compose names {wanted}, which no template folder has", hint="mend the manifest"
        )


def _newest(changelog: Path) -> str:
    """The first version that the changelog has a section for."""
    try:
        text = changelog.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "changelog-section-missing", f"cannot read the changelog {changelog}: {error}", hint="write one"
        ) from error
    for section in sections(text):
        if section.version != UNRELEASED:
            return section.version
    raise SealiftError(
        "changelog-section-missing", f"{changelog} has no version", hint="begin one with: ## [1.0.0] - YYYY-MM-DD"
    )
