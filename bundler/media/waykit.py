"""``bundle kit``: the whole way to a release on one medium, packed for one site: each step a media folder of its own.

::

    <product>-v<version>-for-<site>/
      path.json               in which folders the steps lie: a hint (installer/bundle/pathnote.py)
      01-<product>-v…/        a media folder, without the program: the site has one, and each bundle carries its own
      02-<product>-v…/        …
      README.txt SHA256SUMS

Each step leaves out what the receipt proves that the site has, and what the steps before it bring.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bundler.delta.holdings import Holdings
from bundler.delta.since import holdings_of
from bundler.durable import write_new
from bundler.media import kit as media
from bundler.media.pack import pack
from bundler.media.stock import Stock, Stocked
from bundler.media.way import Hop, Start, find_way
from installer.bundle.archive import BundleReader
from installer.bundle.beside import PROGRAM_PATH
from installer.bundle.pathnote import MAX_STEPS, PATH_FILE, PathNote, PathStep
from installer.bundle.receipt import Receipt, SignedReceipt
from installer.durable import sync_folder
from installer.errors import SealiftError
from installer.program.handover import offered
from installer.talk import Table, Talk, size

_NOT_IN_STEPS: Final = (media.PROGRAM, media.README, media.SUMS)
_README: Final = """\
{title}
{line}

This medium brings {product} {version} to the site {site}, which runs {start}, over all releases that have to come
between. On that host, as root:

    sealift install {folder} --dry-run     what it would do
    sealift install {folder}

Steps: {way}

Each step is an upgrade of its own. If one fails, the release before it goes on serving, and the same command
goes on from there.
SHA256SUMS finds damage on the way (sha256sum -c SHA256SUMS), and proves nothing; the host judges every step by its
signatures. Each folder holds only what this site lacked when it wrote its receipt: no other site can use it.
"""


@dataclass(frozen=True)
class Wish:
    """What was asked for. ``version`` without its v; ``product`` where the site runs several."""

    version: str
    store: Path
    output: Path
    product: str | None = None
    part_size: int | None = None


@dataclass(frozen=True)
class WayKit:
    """A medium that was made; without steps the site runs the release already, and nothing was written."""

    kit: Path
    receipt: SignedReceipt
    product: str
    version: str
    steps: tuple[PathStep, ...]
    sizes: tuple[int, ...]

    def as_json(self) -> dict[str, object]:
        return {
            "kit": str(self.kit) if self.steps else None,
            "product": self.product,
            "version": self.version,
            "site": self.receipt.receipt.site,
            "size": sum(self.sizes),
            "steps": [
                {**step.model_dump(mode="json"), "size": count}
                for step, count in zip(self.steps, self.sizes, strict=True)
            ],
            "not_checked": ["who signed the releases", *([] if self.receipt.known else ["who signed the receipt"])],
        }

    def table(self) -> Table:
        site = self.receipt.receipt.site
        if not self.steps:
            return Table(("", ""), (("nothing to carry", f"{site} runs {self.product} {self.version} already"),))
        rows = [
            ("media", f"{self.kit}  {size(sum(self.sizes))}"),
            ("for", f"{site}, and no other site"),
            *(("step", f"{step.folder}  {size(count)}") for step, count in zip(self.steps, self.sizes, strict=True)),
            ("not checked", "who signed: the site does"),
        ]
        return Table(("", ""), tuple(rows))


def make_kit(signed: SignedReceipt, wish: Wish, talk: Talk) -> WayKit:
    """Find the way, pack its steps, write the medium. Under its final name it is whole or not there.

    Raises ``release-missing``, ``release-ambiguous``, ``output-exists``, ``bad-option`` (2), ``kit-no-path`` (6), and
    what packing raises.
    """
    receipt = signed.receipt
    stock = Stock.read(wish.store, talk.warn)
    target, others = choose(stock, receipt, wish)
    product, version = target.release.product, target.release.version
    here = receipt.product(product)
    if here is not None and here.current is not None and here.current.digest == str(target.digest):
        return WayKit(wish.output, signed, product, version, (), ())
    way = plan_way(Start.of(receipt, product), target, others)
    name = f"{media.kit_name(product, version)}-for-{receipt.site}"
    kit = wish.output / name
    _refuse_other(kit, target)
    talk.say(f"{product}: {' -> '.join(one.release.version for one in way)}")
    with media.partial_kit(wish.output, name) as folder:
        (folder / media.LEFTOVER).unlink(missing_ok=True)
        steps, sizes = _write_steps(folder, way, receipt, stock, wish.part_size, talk)
        _complete(folder, kit.name, receipt, product, steps)
        media.publish(folder, kit)
    return WayKit(kit, signed, product, version, steps, sizes)


def choose(stock: Stock, receipt: Receipt, wish: Wish) -> tuple[Stocked, tuple[Stocked, ...]]:
    """The release that is meant, and the others of its product. Pure. Raises ``release-missing``,
    ``release-ambiguous``, ``bad-option`` (2)."""
    products = {one.product for one in receipt.products}
    named = [one for one in stock.releases if wish.product in (None, one.release.product)]
    if wish.product is None and products:
        named = [one for one in named if one.release.product in products]
    meant = [one for one in named if one.release.version == wish.version and one.release.platform == receipt.platform]
    if not meant:
        raise SealiftError(
            "release-missing",
            f"{stock.folder} holds no whole bundle of {wish.product or ' or '.join(sorted(products)) or 'any product'} "
            f"{wish.version} for {receipt.platform}",
            hint="copy it there, as bundle build made it",
        )
    if len({one.release.product for one in meant}) > 1:
        raise SealiftError("bad-option", f"several products have a {wish.version}", hint="name one with --product")
    if len(meant) > 1:
        raise _ambiguous(meant)
    return meant[0], tuple(one for one in named if one.release.product == meant[0].release.product)


def plan_way(start: Start, target: Stocked, others: Sequence[Stocked]) -> tuple[Stocked, ...]:
    """The steps. What sealift the bundles bring is looked up only where a release asks for another one than the site's.

    Raises ``kit-no-path`` (6), ``release-ambiguous``, ``bad-option`` (2).
    """
    hops = {one.digest: Hop(one.release) for one in (*others, target)}
    try:
        way = find_way(start, hops[target.digest], list(hops.values()))
    except SealiftError:
        if all(one.release.requires.installer is None for one in (*others, target)):
            raise
        hops = {one.digest: Hop(one.release, program_in(one.path)) for one in (*others, target)}
        way = find_way(start, hops[target.digest], list(hops.values()))
    if len(way) > MAX_STEPS:
        raise SealiftError("bad-option", f"{len(way)} steps are more than {MAX_STEPS}", hint="go there by two media")
    for hop in way:
        twins = {one.digest: one for one in (*others, target) if one.release.version == hop.version}
        if len(twins) > 1:
            raise _ambiguous(list(twins.values()))
    stocked = {one.digest: one for one in (*others, target)}
    return tuple(stocked[hop.release.digest] for hop in way)


def program_in(bundle: Path) -> str | None:
    """The version of the site program in a bundle, as its first lines say; None where there is none."""
    with BundleReader(bundle) as reader:
        while (header := reader.next_header()) is not None and header.name < PROGRAM_PATH:
            reader.skip(header.size)
        if header is None or header.name != PROGRAM_PATH:
            return None
        offer = offered(next(reader.data(header.size), b""))
    return offer.version if offer else None


def holdings_at(number: int, way: Sequence[Stocked], receipt: Receipt, stock: Stock) -> Holdings:
    """What the site holds when step ``number`` (from 0) begins."""
    before = holdings_of(receipt, stock)
    brought = [Holdings.of_bundle(one.path) for one in way[:number]]
    return Holdings(
        label=before.label if not number else f"{before.label}, then {way[number - 1].release.version}",
        digests=before.digests.union(*(one.digests for one in brought)),
        bundles=(*before.bundles, *(path for one in brought for path in one.bundles)),
    )


def _write_steps(
    folder: Path, way: Sequence[Stocked], receipt: Receipt, stock: Stock, part_size: int | None, talk: Talk
) -> tuple[tuple[PathStep, ...], tuple[int, ...]]:
    steps, sizes = [], []
    for number, one in enumerate(way):
        since = holdings_at(number, way, receipt, stock)
        common = not since.digests.isdisjoint(member.digest for _, member in one.release.members())
        packed = pack(one.path, folder, part_size, talk, (since,) if common else ())
        place = f"{number + 1:02}-{packed.kit.name}"
        for name in _NOT_IN_STEPS:
            (packed.kit / name).unlink(missing_ok=True)
        packed.kit.rename(folder / place)
        steps.append(PathStep(folder=place, version=one.release.version, digest=str(one.digest)))
        sizes.append(packed.size)
    return tuple(steps), tuple(sizes)


def _complete(folder: Path, name: str, receipt: Receipt, product: str, steps: Sequence[PathStep]) -> None:
    """What stands beside the steps. Everything is synced."""
    found = receipt.product(product)
    since = found.current.version if found and found.current else None
    note = PathNote(product=product, site=receipt.site, since=since, steps=tuple(steps))
    title = f"{product} {steps[-1].version} for {receipt.site}"
    text = _README.format(
        title=title,
        line="=" * len(title),
        product=product,
        version=steps[-1].version,
        site=receipt.site,
        start=since or "nothing yet",
        folder=f"/media/usb/{name}",
        way=", ".join(step.folder for step in steps),
    )
    write_new(folder / PATH_FILE, note.to_bytes())
    write_new(folder / media.README, text.encode())
    write_new(folder / media.SUMS, _sums(folder).encode())
    sync_folder(folder)


def _sums(folder: Path) -> str:
    """Checksums of all files below ``folder`` but signatures, of which more may come."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.parent.name != "signatures")
    return "".join(f"{_sha256(path)}  {path.relative_to(folder)}\n" for path in files)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _refuse_other(kit: Path, target: Stocked) -> None:
    """Media of the same way may be made again, from a newer receipt; nothing else is replaced."""
    if not kit.exists():
        return
    note = PathNote.beside(kit)
    if note is None or note.steps[-1].digest != str(target.digest):
        raise SealiftError("output-exists", f"{kit} holds something else", hint="choose another --output")


def _ambiguous(found: Sequence[Stocked]) -> SealiftError:
    digests = ", ".join(f"{one.digest.short} in {one.path}" for one in found)
    return SealiftError(
        "release-ambiguous",
        f"two releases are called {found[0].release.version}: {digests}",
        hint="one version has one content: take the wrong one out of the folder",
    )
