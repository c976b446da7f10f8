"""How registries are reached from this machine: what the manifest says, and over it the file ``SEALIFT_REGISTRIES``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bundler.manifest.recipe import Recipe, RegistryHost, RegistrySettings, read_model
from installer.bundle.release import Closed
from installer.errors import SealiftError

VARIABLE: Final = "SEALIFT_REGISTRIES"


class RegistriesFile(Closed):
    """The file: ``registries:`` as in a manifest."""

    registries: dict[RegistryHost, RegistrySettings]


def registry_settings(recipe: Recipe, base: Path, environment: Mapping[str, str]) -> dict[str, RegistrySettings]:
    """The settings by host, one in the file in place of the manifest's; ``base`` is the manifest's folder.

    Raises ``manifest-invalid``, ``input-missing`` (2).
    """
    return _at(base, recipe.registries) | named_settings(environment)


def named_settings(environment: Mapping[str, str]) -> dict[str, RegistrySettings]:
    """Those of the file that the environment names, by host. Raises ``manifest-invalid``, ``input-missing`` (2)."""
    if not (named := environment.get(VARIABLE)):
        return {}
    path = Path(named)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "input-missing", f"cannot read {path}, which {VARIABLE} names: {error}", hint=f"mend or unset {VARIABLE}"
        ) from error
    return _at(path.absolute().parent, read_model(text, named, RegistriesFile).registries)


def _at(base: Path, settings: Mapping[str, RegistrySettings]) -> dict[str, RegistrySettings]:
    """The settings with whole paths."""
    return {
        host: one.model_copy(update={"ca": str(base / one.ca)}) if one.ca else one for host, one in settings.items()
    }
