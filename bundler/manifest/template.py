"""Makes a compose template of a compose file: its text stays as it is, but for images and secret files. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import yaml

_JINJA = re.compile(r"\{\{|\{%|\{#")


@dataclass(frozen=True)
class Edit:
    """Replace ``text[start:end]`` by ``new``, which is template language already."""

    start: int
    end: int
    new: str


def make_template(text: str, images: Mapping[str, str]) -> str:
    """``images`` maps services to names of images in the release. Raises ``yaml.YAMLError`` or ``ValueError``."""
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = sorted([*_image_edits(root, images), *_secret_edits(root)], key=lambda edit: edit.start)
    parts, position = [], 0
    for edit in edits:
        if edit.start < position:
            raise ValueError("a service shares its image or secret with another by an anchor: write it out")
        parts += [_escaped(text[position : edit.start]), edit.new]
        position = edit.end
    return "".join([*parts, _escaped(text[position:])])


def _image_edits(root: yaml.Node | None, images: Mapping[str, str]) -> Iterator[Edit]:
    for service, image in images.items():
        body = _value(_value(root, "services"), service)
        reference = f"{{{{ images[{image!r}] }}}}" if "-" in image else f"{{{{ images.{image} }}}}"
        node = _value(body, "image")
        if node is not None:
            yield Edit(node.start_mark.index, node.end_mark.index, reference)
        elif isinstance(body, yaml.MappingNode):
            first = body.value[0][0].start_mark
            separator = ", " if body.flow_style else "\n" + " " * first.column
            yield Edit(first.index, first.index, f"image: {reference}{separator}")
        yield from _without_build(body)


def _without_build(body: yaml.Node | None) -> Iterator[Edit]:
    """What is carried is never built on the site."""
    if isinstance(body, yaml.MappingNode):
        for key, value in body.value:
            if key.value == "build" and not body.flow_style:
                yield Edit(key.start_mark.index, value.end_mark.index, "")


def _secret_edits(root: yaml.Node | None) -> Iterator[Edit]:
    secrets = _value(root, "secrets")
    if isinstance(secrets, yaml.MappingNode):
        for key, value in secrets.value:
            file = _value(value, "file")
            if file is not None:
                name = key.value.replace("-", "_")
                yield Edit(file.start_mark.index, file.end_mark.index, f'"{{{{ secrets.{name} }}}}"')


def _value(node: yaml.Node | None, key: str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        for name, value in node.value:
            if isinstance(name, yaml.ScalarNode) and name.value == key:
                return value  # type: ignore[no-any-return]
    return None


def _escaped(text: str) -> str:
    """Text that a template gives back as it is."""
    return _JINJA.sub(lambda match: f"{{{{ '{match[0]}' }}}}", text)
