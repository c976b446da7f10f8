"""The flow of ``bundle build``: read, agree, collect, assemble, sign, write once, check, publish."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bundler.built import Built
from bundler.cache import wide_cache
from bundler.collect import files
from bundler.collect.charts import collect_charts
from bundler.collect.content import FileContent
from bundler.collect.image import Wish
from bundler.collect.images import Sources, open_sources
from bundler.collect.sources import ImageSource, parse_source
from bundler.manifest.changelog import Section, section_for
from bundler.manifest.git import read_checkout
from bundler.manifest.recipe import Program, Recipe, fill, find_manifest, load_recipe
from bundler.manifest.registries import registry_settings
from bundler.manifest.version import Checkout, Version, check_version
from bundler.media import kit as media
from bundler.program import build_program
from bundler.program.signed import signatures_of
from bundler.signing.keyless import Asked
from bundler.signing.sign import Passphrase, Signer, trusting
from bundler.signing.signers import open_signers
from bundler.trust.ceremony import chain
from bundler.writing.assemble import Assembly, assemble
from bundler.writing.parts import refuse_too_many
from bundler.writing.reuse import Reuse
from bundler.writing.write import Writer
from installer.bundle.archive import BundleReader, locate_bundle
from installer.bundle.beside import PROGRAM_PATH
from installer.bundle.digest import Digest
from installer.bundle.release import Release
from installer.bundle.roots import root_member
from installer.bundle.trust import TrustPolicy
from installer.bundle.verify import check_content, verify_release
from installer.errors import SealiftError
from installer.talk import Talk
from installer.talk import size as in_words
from installer.trust.rootmedia import read_roots

FAT32_LIMIT = 2**32 - 1


@dataclass(frozen=True)
class Request:
    """What was asked for. Paths are as typed; ``keys`` is empty where the environment or the manifest name them."""

    version: str
    root: Path
    manifest: Path | None = None
    keys: tuple[Path, ...] = ()
    platform: str | None = None
    installer: Path | None = None
    output: Path = Path("dist")
    force: bool = False
    jobs: int | None = None
    reuse: tuple[Path, ...] = ()
    keyless: Asked = field(default_factory=Asked)
    roots: tuple[Path, ...] = ()
    part_size: int | None = None
    """Bytes of each part; None for one file."""


@dataclass(frozen=True)
class Draft:
    """A recipe at one version and platform, agreed with changelog and git. ``base`` is the manifest's folder.

    ``roots`` are those that the bundle carries, from the oldest on; ``recipe`` wants at least the newest.
    """

    recipe: Recipe
    base: Path
    version: Version
    platform: str
    section: Section
    created: str
    roots: tuple[TrustPolicy, ...] = ()

    @property
    def values(self) -> dict[str, str]:
        """What placeholders in the manifest stand for."""
        system, architecture = self.platform.split("/")
        return {"version": self.version.text, "os": system, "arch": architecture, "cache": str(wide_cache())}


def draft(request: Request, environment: Mapping[str, str] = os.environ, *, ask_git: bool = True) -> Draft:
    """Read the manifest and make version, changelog and (with ``ask_git``) branch and tags agree.

    Raises ``version-invalid``, ``version-mismatch``, ``changelog-section-missing``, ``platform-missing`` and the
    errors of :mod:`bundler.manifest.recipe`, all 2, and what is wrong with the roots that it shall carry.
    """
    version = Version.parse(request.version)
    manifest = request.manifest or find_manifest(request.root)
    recipe = load_recipe(manifest)
    base = manifest.parent
    section = section_for(version, _changelog_text(recipe, base), recipe.changelog)
    checkout = read_checkout(base)
    if ask_git:
        check_version(version, recipe.product, checkout, environment)
    platform = _platform(recipe, request.platform)
    roots = chain(read_roots(request.roots or [base / place for place in recipe.roots]), recipe.product)
    newest = max([recipe.minimum_root_version, *(root.root_version for root in roots)])
    recipe = recipe.model_copy(update={"minimum_root_version": newest})
    return Draft(recipe, base, version, platform, section, created_at(environment, checkout, section), roots)


def created_at(environment: Mapping[str, str], checkout: Checkout | None, section: Section) -> str:
    """When the release says it was made: ``SOURCE_DATE_EPOCH``, else the commit, else the changelog; never the clock.

    Raises ``changelog-section-missing`` (2) where none of them says.
    """
    epoch = environment.get("SOURCE_DATE_EPOCH", "")
    if epoch:
        if not epoch.isdecimal() or len(epoch) > 11:
            raise SealiftError(
                "bad-option", f"SOURCE_DATE_EPOCH is no number of seconds: {epoch[:40]}", hint="unset it"
            )
        return _iso(int(epoch))
    if checkout is not None:
        return _iso(checkout.commit_time)
    if section.date is not None:
        return f"{section.date}T00:00:00Z"
    raise SealiftError(
        "changelog-section-missing",
        f"nothing says when {section.version} was made: no commit, and no date in its changelog section",
        hint=f"write: ## [{section.version}] - YYYY-MM-DD, or set SOURCE_DATE_EPOCH",
    )


def plan(request: Request, talk: Talk) -> Assembly:
    """What would go into the release; nothing is signed or written."""
    the_draft = draft(request)
    with tempfile.TemporaryDirectory() as scratch, assembled(request, the_draft, Path(scratch), talk) as assembly:
        return assembly


def build(request: Request, passphrase: Passphrase, talk: Talk) -> Built:
    """Make the media folder. Raises what the parts raise; nothing is left under a final name unless all went well."""
    the_draft = draft(request)
    signers = open_signers(request.keys, request.keyless, the_draft.recipe.sign, the_draft.base, passphrase)
    name = media.kit_name(the_draft.recipe.product, the_draft.version.text)
    kit = request.output / name
    with media.partial_kit(request.output, name) as folder:
        with assembled(request, the_draft, folder, talk) as assembly:
            raw = assembly.release.to_bytes()
            packed = sum(part.content.size for part in assembly.parts.values() if part.packed)
            refuse_too_many(packed, request.part_size)  # of the rest nobody knows yet how small it gets
            if not request.force:
                media.refuse_other_release(kit, raw)
            # All at once, at first: the certificates of those who sign without keys live for minutes.
            signatures = {f"signatures/{one.name}.sigstore.json": one.signature_file(raw) for one in signers}
            already = signatures_of(request.installer) if request.installer else {}
            of_program = media.program_signatures(folder, signers, already)
            bundle = folder / media.bundle_name(assembly.release)
            with Reuse(_earlier(request, the_draft, folder)) as reuse:
                writer = Writer(jobs=request.jobs, reuse=reuse, warn=talk.warn)
                with talk.progress("writing the bundle", assembly.size) as meter:
                    inside = signatures | _carried(the_draft)
                    written = writer.write(bundle, assembly, inside, meter.advance, request.part_size)
                if reuse.bytes_taken:
                    talk.say(f"took {in_words(reuse.bytes_taken)} out of earlier bundles")
            media.remove_leftover(folder)
        first = next(iter(written.hashes))
        _check(folder / first, signers)
        _judge_by_newest(the_draft, assembly.release, signatures, talk)
        digest, size, parts = Digest.of(raw), written.size, len(written.hashes)
        made = media.Signatures(signers, signatures, of_program, program_is_signed=bool(already))
        changes = the_draft.section.text
        media.complete(folder, assembly.release, str(digest), made, changes, written.hashes, written.note)
        media.publish(folder, kit)
    if min(size, request.part_size or size) > FAT32_LIMIT:
        talk.warn(f"{first} is too large for a FAT32 stick (4 GiB): --part-size fat32, or format it as exFAT or ext4")
    return Built(kit, kit / first, assembly, digest, size, parts, tuple(one.name for one in signers))


@contextmanager
def assembled(request: Request, the_draft: Draft, folder: Path, talk: Talk) -> Iterator[Assembly]:
    """The release, whose bytes can be read until the end of the block; ``folder`` takes the program and the spools."""
    program = _program(request, the_draft.platform, folder)
    settings = registry_settings(the_draft.recipe, the_draft.base, os.environ)
    with open_sources(talk, folder, settings) as sources:
        yield _assemble(the_draft, program, sources, talk)


def wished(the_draft: Draft, name: str) -> tuple[ImageSource, Wish]:
    """Where the image called ``name`` comes from, and what is asked of it. Raises ``source-unsupported`` (2)."""
    recipe = the_draft.recipe
    image = recipe.sources()[name]
    reference = f"{recipe.product}/{name}:{the_draft.version}"
    source = parse_source(fill(image.source, the_draft.values), the_draft.base)
    return source, Wish(name, the_draft.platform, reference, index=image.index, signatures=image.signatures)


def wished_charts(the_draft: Draft, sources: Sources) -> Iterator[files.CollectedFile]:
    """Every chart of the release. Raises as :func:`~bundler.collect.charts.collect_charts` does."""
    values = the_draft.values
    filled = [one.filled(values) for one in the_draft.recipe.charts]
    return collect_charts(filled, the_draft.base, sources.registries)


def _assemble(the_draft: Draft, program: Path, sources: Sources, talk: Talk) -> Assembly:
    recipe = the_draft.recipe
    found = [one for name in sorted(recipe.sources()) for one in sources.collect(*wished(the_draft, name))]
    collected = [*collect_files(the_draft, FileContent.of(program, "site program")), *wished_charts(the_draft, sources)]
    talk.say(f"collected {len(found)} images and {len(collected)} files")
    return assemble(recipe, the_draft.version, the_draft.platform, the_draft.created, found, collected)


def collect_files(the_draft: Draft, program: FileContent | None) -> Iterator[files.CollectedFile]:
    """Every file of the release but the two of the OCI layout. Raises ``input-missing`` (2) for the first missing."""
    recipe, base, values = the_draft.recipe, the_draft.base, the_draft.values

    def filled(programs: Sequence[Program]) -> list[Program]:
        return [Program(name=one.name, path=fill(one.path, values)) for one in programs]

    folder = f"binaries/{the_draft.platform.replace('/', '-')}"
    yield from files.programs(filled(recipe.binaries), "binary", folder, base)
    yield from files.programs(filled(recipe.tools), "tool", "tools", base)
    yield from files.templates(recipe.templates, base)
    yield from files.documents([fill(path, values) for path in recipe.docs], base)
    changelog = FileContent.of(base / recipe.changelog, "changelog")
    yield files.collect_file("CHANGELOG.md", "changelog", changelog, executable=False)
    if program is not None:
        # Its payload is compressed already, though it begins as a shell script.
        yield files.collect_file(PROGRAM_PATH, "program", program, executable=True, packed=True)


def _carried(the_draft: Draft) -> dict[str, bytes]:
    """The roots, by member name."""
    return {root_member(root.root_version): root.raw or b"" for root in the_draft.roots}


def _judge_by_newest(the_draft: Draft, release: Release, signatures: Mapping[str, bytes], talk: Talk) -> None:
    """Say who must still sign before a host takes this release: others may do so later, so it stops nothing."""
    if not the_draft.roots:
        return
    try:
        the_draft.roots[-1].judge("release", release.to_bytes(), signatures, channel=release.channel)
    except SealiftError as error:
        talk.warn(f"hosts will refuse this release as it is ({error.id}): {error.message}; {error.hint}")


def _earlier(request: Request, the_draft: Draft, folder: Path) -> list[Path]:
    """Bundles to take blobs from: those that were named, then those that are there. Raises ``not-a-bundle`` (3)."""
    named = [locate_bundle(path) for path in request.reuse]
    for path in named:
        BundleReader(path).close()
    return [*named, *media.earlier_bundles(request.output, the_draft.recipe.product, folder)]


def _check(bundle: Path, signers: Sequence[Signer]) -> None:
    """Let the verifier of the site judge signatures, headers, frames and index, before the bundle gets its name.

    What the frames hold was hashed on its way into them; reading it all again would say no more of the disk, because it
    would come from memory. ``bundle verify`` reads it all.
    """
    with BundleReader(bundle) as reader:
        check_content(reader, verify_release(reader, trusting(signers, "this build")), quick=True)


def _program(request: Request, platform: str, folder: Path) -> Path:
    """The site program, as ``folder/install``."""
    target = folder / media.PROGRAM
    if request.installer is None:
        return build_program(target, platform=platform, cache=wide_cache())
    if not request.installer.is_file():
        raise SealiftError(
            "installer-missing",
            f"no site program at {request.installer}",
            hint="leave --installer out to have it built",
        )
    shutil.copyfile(request.installer, target)
    return target


def _platform(recipe: Recipe, asked: str | None) -> str:
    if asked is not None and asked not in recipe.platforms:
        raise SealiftError(
            "platform-missing", f"the manifest has no platform {asked}", hint=f"it has {', '.join(recipe.platforms)}"
        )
    if asked is None and len(recipe.platforms) > 1:
        names = ", ".join(recipe.platforms)
        raise SealiftError(
            "platform-missing", f"a bundle is for one platform of {names}", hint="choose with --platform"
        )
    return asked or recipe.platforms[0]


def _changelog_text(recipe: Recipe, base: Path) -> str:
    path = base / recipe.changelog
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SealiftError(
            "changelog-section-missing",
            f"cannot read the changelog {path}: {error}",
            hint="write one, beside the manifest",
        ) from error


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
