"""Heals a whole bundle: its head, whose sizes only its own headers tell, then everything that the list names."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Sequence
from typing import Final

from bundler.media.kit import bundle_name
from bundler.repair.copies import Copy
from bundler.repair.head import Head, Plan, Signatures, named_by
from bundler.repair.members import Loss, heal
from bundler.repair.weaving import Derailed, Loom
from installer.bundle.archive import RELEASE_MEMBER, data_frames
from installer.bundle.frames import FrameSpan, compress_frame, seek_table
from installer.bundle.release import File
from installer.bundle.tarheader import BLOCK, END, tar_header
from installer.errors import SealiftError

_ENTRY: Final = struct.Struct("<II")
_FOOTER: Final = 9


def heal_bundle(
    copies: tuple[Copy, Copy], beside: tuple[Signatures, Signatures], progress: Callable[[int], None]
) -> Plan:
    """Find out how to put both copies together; ``beside`` each are the files of ``signatures/``, by member name.

    Raises ``copies-differ`` (2) for copies of two releases.
    """
    copies[0].place_by(copies[1])
    copies[1].place_by(copies[0])
    loom, plan = Loom(copies), Plan()
    try:
        _heal_head(loom, plan, beside)
        if plan.release is not None and not plan.lost:
            _content(loom, plan, progress)
    except Derailed as end:
        plan.lost.append(Loss("all that follows", end.span, (end.span,)))
    if not plan.lost:
        plan.pieces.append(seek_table(plan.spans))
    return plan


def _heal_head(loom: Loom, plan: Plan, beside: tuple[Signatures, Signatures]) -> None:
    """The head of copy 0 as it is, else mixed with that of copy 1, else that of copy 1; both go on behind it."""
    own = [_head_of(copy, one) for copy, one in zip(loom.copies, beside, strict=True)]
    if own[0] is not None and own[1] is not None and own[0].digest != own[1].digest:
        raise _differ(own[0], own[1])
    if own[0] is not None:
        found = own[0]
    else:
        found = _mixed_head(loom, beside, own[1])
        if own[1] is not None and found.digest is None:
            found = own[1].of_the_other()
        if own[1] is not None:
            _refuse_stranger(loom.copies[0], own[1], beside[0], found)
    plan.release, plan.digest, plan.lost, plan.packing = found.release, found.digest, found.lost, found.packing
    plan.pieces, plan.spans = list(found.pieces), list(found.spans)
    for which, one in enumerate(own):
        whole = one or found
        loom.places[which] = sum(span.compressed for span in whole.spans)
        loom.heads[which] = [span.content for span in whole.spans]
    loom.number = 0


def _head_of(copy: Copy, beside: Signatures) -> Plan | None:
    """The head of a copy that needs no other: all of it can be read, and a signature says that it is right."""
    plan = Plan()
    try:
        Head(Loom((copy, copy)), plan, beside).heal()
    except Derailed:
        return None
    return plan if plan.named and not plan.lost else None


def _mixed_head(loom: Loom, beside: tuple[Signatures, Signatures], other: Plan | None) -> Plan:
    plan = Plan()
    both = {name: (*beside[0].get(name, ()), *beside[1].get(name, ())) for name in {*beside[0], *beside[1]}}
    try:
        Head(loom, plan, both).heal(other.digest if other is not None else None)
        if plan.lost:
            again = Plan()
            Head(Loom(loom.copies, fine=True), again, both).heal(other.digest if other is not None else None)
            plan = plan if again.lost else again
    except Derailed as end:
        if other is None:
            raise
        plan.lost.append(Loss(RELEASE_MEMBER, end.span, (end.span,)))
    if plan.lost and other is not None:
        plan.digest = None
    return plan


def _differ(ours: Plan, theirs: Plan) -> SealiftError:
    told = [f"{one.release.product} {one.release.version}" for one in (ours, theirs) if one.release is not None]
    return SealiftError(
        "copies-differ",
        f"these are two releases, {told[0]} ({ours.digest}) and {told[1]} ({theirs.digest})",
        hint="--from must name a copy of the same release",
    )


def _refuse_stranger(copy: Copy, other: Plan, beside: Signatures, found: Plan) -> None:
    """The head of ``copy`` is damaged: is ``other`` a copy of it? What lies beside it tells, else its name."""
    named = named_by([data for files in beside.values() for data in files])
    name = bundle_name(other.release) if other.release is not None else ""
    known = any(isinstance(piece, tuple) and not piece[0] for piece in found.pieces)
    if (named and other.digest not in named) or not (known or copy.name == name):
        raise SealiftError(
            "copies-differ",
            f"the head of {copy.name} cannot be read, and the other copy is {name} ({other.digest})",
            hint="--from must name a copy of the same release, under the same name",
        )


def _content(loom: Loom, plan: Plan, progress: Callable[[int], None]) -> None:
    members = list(plan.members().items())
    contents: list[int] = []
    for _, member in members:
        contents += [BLOCK, *(content for _, content in data_frames(member.size))]
    for which, copy in enumerate(loom.copies):
        loom.lengths[which] = _index(copy, loom.heads[which], [*contents, len(END)])
    for name, member in members:
        header = tar_header(name, member.size, int(member.mode, 8) if isinstance(member, File) else 0o644)
        _known(loom, plan, header)
        began = loom.places[0]
        found = heal(loom, name, member.size, member.digest)
        if isinstance(found, Loss):
            plan.lost.append(found)
        else:
            plan.add(found.pieces, found.lengths, [content for _, content in data_frames(member.size)])
        progress(loom.places[0] - began)
    _known(loom, plan, END)


def _known(loom: Loom, plan: Plan, data: bytes) -> None:
    """A frame whose content follows from the list."""
    woven = loom.next(len(data), data.__eq__, compress_frame(data))
    plan.take(woven.options[0], len(data))


def _index(copy: Copy, head: Sequence[int], contents: Sequence[int]) -> array[int] | None:
    """The length of every frame of the content as the seek table at the end of a copy has it.

    None without a table that is sound and fits the list.
    """
    length = 8 + (len(head) + len(contents)) * _ENTRY.size + _FOOTER
    table = copy.read(copy.size - length, length) if copy.size > length else b""
    spans = [FrameSpan(*entry) for entry in _ENTRY.iter_unpack(table[8:-_FOOTER])] if len(table) == length else []
    told = [span.content for span in spans]
    whole = sum(span.compressed for span in spans) + length == copy.size
    if told != [*head, *contents] or seek_table(spans) != table or not whole:
        return None
    return array("I", (span.compressed for span in spans[len(head) :]))
