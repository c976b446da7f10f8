"""The media folder: what the courier carries. It appears whole, under its final name, or not at all."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Final, Protocol

from bundler.durable import PARTIAL, goes_on, write_new
from bundler.signing.sign import Signer
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.parts import PARTS_FILE, PartsNote, bundle_of, part_name, split_name
from installer.bundle.release import Release
from installer.bundle.trust import Identity
from installer.durable import sync_folder
from installer.errors import SealiftError

PROGRAM: Final = "install"
BUNDLE: Final = ".bundle.tar.zst"
LEFTOVER: Final = f"leftover{BUNDLE}"
SUMS: Final = "SHA256SUMS"
README: Final = "README.txt"
ENCRYPTED: Final = ".age"
_TEMPLATE: Final = Path(__file__).with_name("operator_readme.txt.j2")
_ENCRYPTED_TEMPLATE: Final = Path(__file__).with_name("encrypted_readme.txt.j2")


def kit_name(product: str, version: str) -> str:
    """The folder's name."""
    return f"{product}-v{version}"


def bundle_name(release: Release, *, delta: bool = False) -> str:
    """The bundle's file name; a delta has another than the whole, so that nobody takes one for the other."""
    name = f"{release.product}-{release.version}-{release.platform.replace('/', '-')}"
    return f"{name}{'.delta' if delta else ''}{BUNDLE}"


def encrypted_kit_name(product: str) -> str:
    """The folder's name where the bundle is encrypted: it tells the product, and nothing else of the release."""
    return f"{product}-encrypted"


def encrypted_bundle_name(product: str) -> str:
    """The same for the bundle; a drawn number keeps parts of one packing from those of another beside it."""
    return f"{product}-{secrets.token_hex(4)}{BUNDLE}{ENCRYPTED}"


@contextmanager
def partial_kit(output: Path, name: str) -> Iterator[Path]:
    """A folder beside the final one to build in; removed at the end of the block unless :func:`publish` moved it.

    Of what a killed build left, the bundle is kept as :data:`LEFTOVER`, to take blobs from; the rest is removed first.
    When the block is interrupted, or a source does not answer, what there is of the bundle stays for the next build.
    Raises ``locked`` (8) while another build of the same kit runs.
    """
    output.mkdir(parents=True, exist_ok=True)
    folder = output / f"{name}{PARTIAL}"
    folder.mkdir(exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    useful = False
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = _is_at(handle, folder)
        except BlockingIOError:
            free = False
        if not free:
            raise SealiftError("locked", f"another build works in {folder}", hint="let it end first")
        try:
            _bring_back(output / name)
            _tidy(folder)
            yield folder
        except BaseException as error:
            useful = goes_on(error)
            raise
        finally:
            if _is_at(handle, folder) and not (useful and _tidy(folder)):
                shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(handle)


def earlier_bundles(output: Path, product: str, folder: Path) -> list[Path]:
    """Bundles that a build in ``folder`` may take blobs from: what was begun there, then kits, newest first."""
    pattern = f"{glob.escape(product)}-v*/{glob.escape(product)}-*{BUNDLE}"
    kits = (path for ending in ("", ".001") for path in output.glob(f"{pattern}{ending}"))
    whole = (path for path in kits if path.parent.suffix != PARTIAL)
    found = sorted(whole, key=lambda path: path.stat().st_mtime_ns)
    leftover = (folder / LEFTOVER, folder / part_name(LEFTOVER, 1))
    return [*(path for path in leftover if path.exists()), *reversed(found)]


def remove_leftover(folder: Path) -> None:
    """What an earlier build left in ``folder`` is not needed any more."""
    for path in folder.glob(f"{LEFTOVER}*"):
        path.unlink()


def refuse_other_release(kit: Path, raw: bytes) -> None:
    """A kit of the same version may be made again, but never silently become another release.

    ``raw`` are the bytes of the new ``release.json``. Raises ``output-exists`` (2).
    """
    if not kit.exists():
        return
    try:
        with BundleReader(locate_bundle(kit)) as reader:
            if reader.head.release == raw:
                return
        what = "another release of the same version"
    except SealiftError as error:
        what = f"something else ({error.message})"
    raise SealiftError(
        "output-exists",
        f"{kit} holds {what}: a version that has left the house never changes",
        hint="raise the version, choose another --output, or --force when it has not left the house",
    )


class Named(Protocol):
    """Somebody who signed, as the page for operators tells of him."""

    @property
    def name(self) -> str:
        """What his signature files are called."""

    @property
    def trusted_as(self) -> object:
        """An :class:`Identity`, or anything else for a key."""


def refuse_existing(kit: Path) -> None:
    """Encrypted media tell nobody here which release they hold, so none replaces another. Raises ``output-exists``."""
    if kit.exists():
        raise SealiftError(
            "output-exists",
            f"{kit} is there already, and what it holds cannot be seen",
            hint="choose another --output, or remove it first",
        )


@dataclass(frozen=True)
class Signatures:
    """Who signed, and the files: over the release by member name, over the program by their names beside it.

    ``program_is_signed``: by others than the first signer, before this build.
    """

    signers: Sequence[Named]
    release: Mapping[str, bytes]
    program: Mapping[str, bytes]
    program_is_signed: bool = False


def program_signatures(folder: Path, signers: Sequence[Signer], already: Mapping[str, bytes]) -> dict[str, bytes]:
    """Signature files over the program in ``folder``; those made ``already``, by file name, keep their names.

    The first one stands beside the program under the plain name.
    """
    program = (folder / PROGRAM).read_bytes()
    taken = dict(already)
    for signer in signers:
        made = signer.signature_file(program)
        if made not in taken.values():
            names = (f"{PROGRAM}{extra}.sigstore.json" for extra in _extras(signer.name))
            taken[next(name for name in names if name not in taken)] = made
    return taken


def complete(
    folder: Path,
    release: Release,
    digest: str,
    made: Signatures,
    changes: str,
    known: Mapping[str, str],
    note: PartsNote | None = None,
) -> None:
    """Add what stands beside bundle and program: signatures, readme, checksums. Everything is synced.

    ``known``: hex sha256 of files, by name, that were hashed as they were written; ``note`` where they are parts.
    """
    if has_program := (folder / PROGRAM).exists():
        (folder / PROGRAM).chmod(0o755)
    (folder / "signatures").mkdir()
    for name, signature in {**made.program, **made.release}.items():
        write_new(folder / name, signature)
    program_key = "installer.pub" if made.program_is_signed else "release.pub"
    page = readme(release, digest, made.signers, changes, program_key)
    if note is not None:
        write_new(folder / PARTS_FILE, note.to_bytes())
        page = readme_of_parts(page, note.bundle, len(note.parts))
    write_new(folder / README, page.encode("utf-8"))
    write_new(folder / SUMS, sums(folder, known).encode("utf-8"))
    if has_program:
        _sync_file(folder / PROGRAM)
    sync_folder(folder)


def readme(release: Release, digest: str, signers: Sequence[Named], changes: str, program_key: str) -> str:
    """The operator's page, whose commands check the first signer's signatures; ``program_key`` is whose signature
    ``install.sigstore.json`` is. Pure."""
    first = signers[0].trusted_as
    return _rendered(
        _TEMPLATE,
        title=f"{release.product} {release.version}",
        product=release.product,
        version=release.version,
        platform=release.platform,
        strategy=release.strategy,
        bundle=bundle_name(release),
        digest=digest,
        signers=[signer.name for signer in signers],
        first_signature=f"signatures/{signers[0].name}.sigstore.json",
        identity=quote(first.identity) if isinstance(first, Identity) else None,
        issuer=quote(first.issuer) if isinstance(first, Identity) else None,
        news=f"What is new in {release.version}",
        changes=changes,
        program_key=program_key,
    )


def readme_of_encrypted(product: str, files: Sequence[str], *, in_parts: bool) -> str:
    """The page beside an encrypted bundle that lies in ``files``: it tells no release from another. Pure."""
    bundle = bundle_of(files[0])
    return _rendered(
        _ENCRYPTED_TEMPLATE,
        title=f"{product}, encrypted",
        product=product,
        names=f"{files[0]} to .{len(files):03}, parts.json" if in_parts else bundle,
        bundle=bundle,
        plain=bundle.removesuffix(ENCRYPTED),
        parts=in_parts,
    )


def _rendered(template: Path, **values: object) -> str:
    # Imported here: it costs a tenth of what `bundle --help` may take, and only who writes a page needs it.
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return environment.from_string(template.read_text(encoding="utf-8")).render(**values)


def readme_of_parts(text: str, bundle: str, count: int) -> str:
    """The operator's page for a bundle that was cut into ``count`` parts. Pure."""
    names = f"{part_name(bundle, 1)} to .{count:03}, parts.json"
    joined = text.replace(f"tar --zstd -xf {bundle} ", f"cat {bundle}.[0-9]* | tar --zstd -xf - ")
    return joined.replace(
        f"  {bundle}\n",
        f"  {names}\n      in parts: leave them as they are, in one folder or on several discs; joined they are\n"
        f"      the file {bundle} (cat {bundle}.[0-9]* > {bundle}):\n",
        1,
    )


def readme_of_delta(release: Release, names: Sequence[str], since: Sequence[str]) -> str:
    """The operator's page for a delta whose files are ``names``. Pure."""
    title = f"{release.product} {release.version}, as a delta"
    lines = [
        title,
        "=" * len(title),
        "",
        "This folder holds only what is new. It is for a host that runs one of these already:",
        "",
        *(f"    {label}" for label in since),
        "",
        f"On such a host, with this folder as it is ({names[0]}{' and its further parts' if names[1:] else ''}):",
        "",
        "    sealift install .",
        "",
        "It says at once if the host lacks something; then, and for a first installation, bring the whole release.",
        "`--dry-run` shows every step and does none. To look, and to go back: sealift status, sealift rollback.",
        "",
        "    sha256sum -c SHA256SUMS        finds damage on the way; proves nothing about who made it",
        "",
    ]
    return "\n".join(lines)


def sums(folder: Path, known: Mapping[str, str]) -> str:
    """Checksums of all files at the top of ``folder``, for ``sha256sum -c``. Countersignatures may come later."""
    files = sorted(path for path in folder.iterdir() if path.is_file() and path.name != SUMS)
    return "".join(f"{known.get(path.name) or _sha256(path)}  {path.name}\n" for path in files)


def publish(folder: Path, kit: Path) -> None:
    """Give the finished folder its final name; a kit that stood there goes once the new one is complete."""
    aside = _aside(kit)
    shutil.rmtree(aside, ignore_errors=True)
    if kit.exists():
        kit.rename(aside)
    try:
        folder.rename(kit)
    except OSError:
        _bring_back(kit)
        raise
    sync_folder(kit.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _extras(name: str) -> Iterator[str]:
    """What tells signatures of the program apart: nothing, the signer's name, that and a number."""
    yield from ("", f".{name}")
    yield from (f".{name}-{number}" for number in itertools.count(2))


def _aside(kit: Path) -> Path:
    return kit.with_name(f"{kit.name}.old{PARTIAL}")


def _bring_back(kit: Path) -> None:
    """A kit that was put aside for one that did not come has its name again."""
    if _aside(kit).exists() and not kit.exists():
        _aside(kit).rename(kit)


def _is_at(handle: int, folder: Path) -> bool:
    """Whether ``folder`` is still the one that was opened as ``handle``, not moved away or replaced."""
    try:
        return os.path.samestat(os.fstat(handle), folder.stat())
    except FileNotFoundError:
        return False


def _tidy(folder: Path) -> bool:
    """Remove all but the largest bundle that was begun, which becomes :data:`LEFTOVER`; whether there is one."""
    kept = max(_begun(folder), key=lambda files: sum(path.stat().st_size for path in files.values()), default={})
    for path in folder.iterdir():
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        elif path not in kept.values():
            path.unlink()
    for name, path in kept.items():
        path.rename(folder / name)
    return bool(kept)


def _begun(folder: Path) -> list[dict[str, Path]]:
    """The bundles that were begun in ``folder``: the files of each, by what they are called as a leftover."""
    found: dict[str, dict[str, Path]] = {}
    for path in folder.glob(f"*{BUNDLE}*"):
        whole = path.name.removesuffix(PARTIAL)
        name, number = split_name(whole) or (whole, 0)
        if path.is_file():
            found.setdefault(f"{name} {number > 0}", {})[part_name(LEFTOVER, number) if number else LEFTOVER] = path
    return [files for files in found.values() if files.keys() & {LEFTOVER, part_name(LEFTOVER, 1)}]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
