"""Configuration from templates. Pure: verified bytes and site values in, files as bytes out.

``X.j2`` becomes ``X``; what doesn't end in ``.j2`` is copied; names that begin with ``_`` are only there to be
included. Templates see ``product``, ``version``, ``site``, ``environment``, ``cluster_id``, ``peers``, ``values``,
``images`` and ``secrets`` (paths, never contents), and nothing else: no file, no environment variable, no clock.
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Final

from jinja2 import FunctionLoader, TemplateError, TemplateSyntaxError

from installer.bundle.release import Release
from installer.errors import SealiftError
from installer.site.sandbox import MAX_OUTPUT, BoundedEnvironment, TooMuch
from installer.site.site import Site
from installer.site.values import resolve_values

RESERVED: Final = "sealift."
"""Rendered files must not begin with this: the installer puts its own beside them."""


def template_root(release: Release) -> str:
    """The archive folder whose templates belong to the running product, with a slash at its end."""
    folder = PurePosixPath("templates", release.deploy.compose).parent
    return f"{folder}/"


def compose_name(release: Release) -> str:
    """The compose file among the rendered files."""
    return PurePosixPath(release.deploy.compose).name.removesuffix(".j2")


def render(
    release: Release,
    site: Site,
    files: Mapping[str, bytes],
    images: Mapping[str, str],
    secret_paths: Mapping[str, str],
) -> dict[str, bytes]:
    """Render ``files`` (paths below :func:`template_root`, verified bytes); the result has the same folders.

    ``images`` maps names to pinned references, ``secret_paths`` names to paths. Raises ``template-invalid`` (2) with
    file and line, ``secret-missing`` (7), and what :func:`installer.site.values.resolve_values` raises.
    """
    variables = {
        "product": release.product,
        "version": release.version,
        "site": site.site,
        "environment": site.environment,
        "cluster_id": site.cluster_id,
        "peers": list(site.peers),
        "values": resolve_values(release.inputs, site.values).nested,
        "images": _with_underscores(images),
        "secrets": _Secrets(_with_underscores(secret_paths)),
    }
    environment = BoundedEnvironment(FunctionLoader(lambda name: _source(files, name)))
    rendered: dict[str, bytes] = {}
    for path, content in sorted(files.items()):
        if PurePosixPath(path).name.startswith("_"):
            continue
        name = path.removesuffix(".j2")
        if name in rendered or PurePosixPath(name).name.startswith(RESERVED):
            raise _invalid(path, f"its result cannot be called {name}", "two templates, or a name kept for sealift")
        rendered[name] = _render_one(environment, path, variables, files) if path.endswith(".j2") else content
    if compose_name(release) not in rendered:
        raise _invalid(release.deploy.compose, "the compose file is not among the templates", "build the bundle again")
    return rendered


class _Secrets(dict[str, str]):
    """Paths of secrets; asking for one that the site lacks names it."""

    def __missing__(self, name: str) -> str:
        raise SealiftError(
            "secret-missing",
            f"a template asks for the secret {name}, which the site file lacks",
            hint=f"add to site.yaml, below `secrets:`, {name}: {{file: /etc/sealift/secrets/{name}}}",
        )


def _render_one(
    environment: BoundedEnvironment, path: str, variables: Mapping[str, object], files: Mapping[str, bytes]
) -> bytes:
    try:
        size, parts = 0, []
        for part in environment.get_template(path).generate(variables):
            encoded = part.encode()
            size += len(encoded)
            if size > MAX_OUTPUT:
                raise TooMuch(f"more than {MAX_OUTPUT} bytes")
            parts.append(encoded)
        return b"".join(parts)
    except SealiftError:
        raise
    except TemplateSyntaxError as error:
        raise _invalid(
            f"{error.name or path}:{error.lineno}", _words(error), "the product's template is wrong"
        ) from error
    except RecursionError as error:
        raise _invalid(path, "it includes or calls itself without end", "the product's template is wrong") from error
    except Exception as error:  # whatever an expression of the template made Python raise
        raise _invalid(_place(error, path, files), _words(error), "the product's template is wrong") from error


def _source(files: Mapping[str, bytes], name: str) -> tuple[str, str, None] | None:
    content = files.get(name)
    return None if content is None else (content.decode("utf-8"), name, None)


def _place(error: Exception, path: str, files: Mapping[str, bytes]) -> str:
    """File and line: the innermost frame that lies in a template."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in files]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else path


def _words(error: Exception) -> str:
    text = error.message if isinstance(error, TemplateError) and error.message else str(error)
    return " ".join(text.split())[:300] or type(error).__name__


def _invalid(place: str, why: str, hint: str) -> SealiftError:
    return SealiftError("template-invalid", f"the template {place} does not render: {why}", hint=hint)


def _with_underscores(names: Mapping[str, str]) -> dict[str, str]:
    """Names with dashes can't be written after a dot, so they can be asked for with underscores too."""
    return {name.replace("-", "_"): value for name, value in names.items()} | dict(names)
