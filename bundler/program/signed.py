"""Signatures of a program that was built, and signed, before the releases that carry it.

Whoever holds the installer role signs a program once (``bundle program --key``); release engineers put that very file
into their releases (``bundle build --installer FILE``), and its signatures come along.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bundler.durable import write_new
from bundler.signing.sign import Signer
from installer.bundle.beside import read_signature_files
from installer.bundle.digest import Digest
from installer.bundle.signature import parse_signature
from installer.errors import SealiftError

_SUFFIX = r"(\.[a-z0-9][a-z0-9._-]{0,60})?\.sigstore\.json"


def sign_program(file: Path, signers: Sequence[Signer]) -> list[Path]:
    """Write ``FILE.sigstore.json`` by the first signer and ``FILE.NAME.sigstore.json`` by each other one."""
    data, made = file.read_bytes(), []
    for number, signer in enumerate(signers):
        place = file.with_name(f"{file.name}{f'.{signer.name}' if number else ''}.sigstore.json")
        write_new(place, signer.signature_file(data))
        made.append(place)
    return made


def signatures_of(file: Path) -> dict[str, bytes]:
    """What :func:`sign_program` wrote beside ``file``, by the names that it has beside ``install``.

    Raises ``signature-of-another`` (5) for one over other bytes, what cannot be read (3, 4), and the errors of
    :func:`parse_signature` (3): whoever builds must not find out on a host.
    """
    found = read_signature_files(file.parent, re.compile(re.escape(file.name) + _SUFFIX), "", strays=False)
    if found.passed_over:
        raise found.passed_over[0].error
    digest = Digest.of(file.read_bytes())
    for name, data in found.files.items():
        if parse_signature(data, name).digest != digest:
            raise SealiftError(
                "signature-of-another",
                f"{file.with_name(name)} is not over {file.name} as it is now",
                hint="sign this program again, or remove the old signature",
            )
    return {f"install{name.removeprefix(file.name)}": data for name, data in found.files.items()}
