"""Tar headers: what introduces a member."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

from dataclasses import replace

from tests.vectors.forge import Member
from tests.vectors.vector import Make, Vector, header, header_with, member, members

SIGNATURE = "signatures/release.sigstore.json"
BLOB = "blobs/sha256/"
GIB = 2**30


def octal(number: int, width: int) -> bytes:
    return f"{number:0{width - 1}o}".encode("ascii") + b"\0"


def base256(number: int) -> bytes:
    return (number % 2**96 | 1 << 95).to_bytes(12, "big")


def sized(of: str, number: int) -> Make:
    """The header of ``of`` says another size, spelled as it should be."""
    return header(of, size=octal(number, 12) if number < 8 * GIB else base256(number))


def named(name: bytes) -> Make:
    return header(name=name)


def extra_before(kind: bytes, data: bytes) -> Make:
    """A member of type ``kind`` in front of CHANGELOG.md, as PAX and GNU long names have it."""
    more = Member("extension", data)
    more = replace(more, header=header_with(more, type=kind))
    return members(lambda all_: [new for one in all_ for new in ([more, one] if one.name == "CHANGELOG.md" else [one])])


def padded(of: str) -> Make:
    return member(of, lambda one: replace(one, pad=b"\0" * (-len(one.data) % 512 - 1) + b"x"))


_PAX_SIZE = b"19 path=/etc/passwd\n"

# fmt: off
VECTORS = [
    Vector("hard-link", "a hard link to /etc/passwd", "member-link", header(type=b"1", linkname=b"/etc/passwd")),
    Vector("symbolic-link", "a symbolic link out of the folder", "member-link", header(type=b"2", linkname=b"../../etc")),
    Vector("link-to-itself", "a link to itself", "member-link", header(type=b"2", linkname=b"CHANGELOG.md")),
    Vector("release-is-link", "release.json is a link", "member-link", header("release.json", type=b"2", linkname=b"x")),
    Vector("signature-is-link", "a signature is a link", "member-link", header(SIGNATURE, type=b"2", linkname=b"x")),
    Vector("packing-is-link", "packing.json is a hard link", "member-link", header("packing.json", type=b"1", linkname=b"x")),
    Vector("blob-is-link", "a blob is a hard link to another", "member-link", header("blobs/sha256/", type=b"1", linkname=b"x")),
    Vector("character-device", "/dev/mem", "member-device", header(type=b"3", devmajor=octal(1, 8), devminor=octal(1, 8))),
    Vector("block-device", "/dev/sda", "member-device", header(type=b"4", devmajor=octal(8, 8), devminor=octal(0, 8))),
    Vector("named-pipe", "a pipe, which blocks whoever opens it", "member-device", header(type=b"6")),
    Vector("folder", "a folder instead of a file", "member-directory", header(type=b"5")),
    Vector("sparse-gnu", "an old GNU sparse file", "member-sparse", header(type=b"S", prefix=b"")),
    Vector("type-old", "the type of the oldest tars (a zero byte)", "member-type", header(type=b"\0")),
    Vector("type-contiguous", "a contiguous file", "member-type", header(type=b"7")),
    Vector("type-volume", "a volume label", "member-type", header(type=b"V")),
    Vector("type-continued", "the rest of a file on another volume", "member-type", header(type=b"M")),
    Vector("type-dumpdir", "a GNU dump folder", "member-type", header(type=b"D")),
    Vector("type-acl", "a Solaris access list", "member-type", header(type=b"A")),
    Vector("type-unknown", "a type nobody knows", "member-type", header(type=b"\xff")),
    Vector("pax-path", "PAX renames the next member", "pax-header", extra_before(b"x", _PAX_SIZE)),
    Vector("pax-size", "PAX gives the next member another size", "pax-header", extra_before(b"x", b"14 size=99999\n")),
    Vector("pax-global", "PAX for all that follows", "pax-header", extra_before(b"g", b"9 uid=0\n")),
    Vector("pax-solaris", "PAX as Solaris had it", "pax-header", extra_before(b"X", b"9 uid=0\n")),
    Vector("pax-sparse", "GNU sparse 1.0 by PAX", "pax-header", extra_before(b"x", b"22 GNU.sparse.major=1\n")),
    Vector("pax-first", "release.json is a PAX header", "pax-header", header("release.json", type=b"x")),
    Vector("gnu-long-name", "GNU gives the next member a long name", "gnu-longname", extra_before(b"L", b"../" * 99 + b"x\0")),
    Vector("gnu-long-link", "GNU gives the next member a long link", "gnu-longname", extra_before(b"K", b"/etc/passwd\0")),
    Vector("checksum-wrong", "the checksum is off by one", "tar-checksum", header(checksum=b"000001\0 ")),
    Vector("checksum-blank", "the checksum is blank", "tar-number", header(checksum=b"        ")),
    Vector("header-zeros", "512 zeros instead of a header", "tar-number", member("CHANGELOG.md", lambda m: replace(m, header=bytes(512)))),
    Vector("header-garbage", "512 letters instead of a header", "tar-number", member("CHANGELOG.md", lambda m: replace(m, header=b"A" * 512))),
    Vector("magic-v7", "no magic, as in Unix V7", "tar-magic", header(magic=bytes(8))),
    Vector("magic-posix", "the magic of POSIX tar", "tar-magic", header(magic=b"ustar\x0000")),
    Vector("magic-garbage", "another magic", "tar-magic", header(magic=b"rats u  ")),
    Vector("number-blanks", "a size with blanks, as old tars write", "tar-number", header(size=b"         23\0")),
    Vector("number-open", "a size without its final zero byte", "tar-number", header(size=b"000000000023")),
    Vector("number-decimal", "a size with the digit 8", "tar-number", header(size=b"00000000008\0")),
    Vector("number-sign", "a size with a minus sign", "tar-number", header(size=b"-0000000001\0")),
    Vector("number-hex", "a size in hexadecimal", "tar-number", header(size=b"0x000000013\0")),
    Vector("number-empty", "a size of no digits", "tar-number", header(size=bytes(12))),
    Vector("number-mode-hex", "a mode that is no octal number", "tar-number", header(mode=b"000x644\0")),
    Vector("number-short", "a size of fewer digits, the same value", "tar-number", header(size=b"23\0")),
    Vector("number-base-256", "a small size in base 256", "tar-spelling", header(size=base256(19))),
    Vector("size-minus-one", "size -1 in base 256", "size-negative", header(size=b"\xff" * 12)),
    Vector("size-minus-large", "the most negative size", "size-negative", header(size=b"\xc0" + bytes(11))),
    Vector("size-2-50", "one byte more than any member may have", "size-overflow", header(size=base256(2**50 + 1))),
    Vector("size-2-63", "a size that overflows a signed 64-bit number", "size-overflow", header(size=base256(2**63))),
    Vector("size-2-64", "a size that overflows to 0 in 64 bits", "size-overflow", header(size=base256(2**64))),
    Vector("size-2-64-more", "a size that overflows to the right one", "size-overflow", header(size=base256(2**64 + 19))),
    Vector("size-2-94", "the largest size that can be spelled", "size-overflow", header(size=base256(2**94 - 1))),
    *(
        Vector(f"size-{base // GIB}-gib{off:+d}" if off else f"size-{base // GIB}-gib", "a header of such a size", "member-size", sized("CHANGELOG.md", base + off))
        for base in (2 * GIB, 4 * GIB, 8 * GIB)
        for off in (-1, 0, 1)
    ),
    Vector("size-one-less", "a member that says one byte less", "member-size", sized("CHANGELOG.md", 18)),
    Vector("size-one-more", "a member that says one byte more", "member-size", sized("CHANGELOG.md", 20)),
    Vector("size-blob-more", "a blob that says one byte more", "member-size", sized(BLOB, 9999)),
    Vector("release-8-mib", "release.json of one byte over its cap", "release-too-large", sized("release.json", 2**23 + 1)),
    Vector("release-8-gib", "release.json of 8 GiB", "release-too-large", sized("release.json", 8 * GIB)),
    Vector("signature-64-kib", "a signature of one byte over its cap", "signature-too-large", sized(SIGNATURE, 2**16 + 1)),
    Vector("signature-4-gib", "a signature of 4 GiB", "signature-too-large", sized(SIGNATURE, 4 * GIB)),
    Vector("packing-4-mib", "packing.json of one byte over its cap", "packing-too-large", sized("packing.json", 2**22 + 1)),
    Vector("packing-8-gib", "packing.json of 8 GiB", "packing-too-large", sized("packing.json", 8 * GIB)),
    Vector("mode-setuid", "a set-uid program", "member-mode", header(mode=octal(0o4755, 8))),
    Vector("mode-sticky", "a sticky file", "member-mode", header(mode=octal(0o1644, 8))),
    Vector("mode-world", "a file that everybody may write", "member-mode", header(mode=octal(0o666, 8))),
    Vector("mode-none", "a file that nobody may read", "member-mode", header(mode=octal(0, 8))),
    Vector("mode-other", "executable, but listed as plain", "member-mode", header(mode=octal(0o755, 8))),
    Vector("mode-plain", "plain, but listed as executable", "member-mode", header("binaries/", mode=octal(0o644, 8))),
    Vector("mode-blob", "an executable blob", "member-mode", header(BLOB, mode=octal(0o755, 8))),
    Vector("mode-release", "an executable release.json", "member-mode", header("release.json", mode=octal(0o755, 8))),
    Vector("mode-signature", "an executable signature", "member-mode", header(SIGNATURE, mode=octal(0o755, 8))),
    Vector("mode-packing", "an executable packing.json", "member-mode", header("packing.json", mode=octal(0o755, 8))),
    Vector("owner-uid", "a user id", "member-owner", header(uid=octal(1000, 8))),
    Vector("owner-gid", "a group id", "member-owner", header(gid=octal(1000, 8))),
    Vector("owner-user", "a user's name", "member-owner", header(uname=b"root")),
    Vector("owner-group", "a group's name", "member-owner", header(gname=b"wheel")),
    Vector("time-one", "a time", "member-time", header(time=octal(1, 12))),
    Vector("time-2038", "a time after 2038", "member-time", header(time=octal(2**31, 12))),
    Vector("device-number", "a device number on a plain file", "tar-spelling", header(devmajor=octal(8, 8))),
    Vector("link-name", "a link's target on a plain file", "tar-spelling", header(linkname=b"/etc/passwd")),
    Vector("name-prefix", "a folder in the POSIX prefix field", "tar-spelling", header(prefix=b"/etc")),
    Vector("name-tail", "bytes after the end of the name", "tar-spelling", header(name=b"CHANGELOG.md\0/../../x")),
    Vector("header-rest", "bytes in the unused end of the header", "tar-spelling", header(rest=b"hidden")),
    Vector("path-root", "/etc/passwd", "path-absolute", named(b"/etc/passwd")),
    Vector("path-drive", "a drive letter", "path-absolute", named(b"C:\\Windows\\x")),
    Vector("path-drive-slash", "a drive letter with a slash", "path-absolute", named(b"C:/x")),
    Vector("path-share", "a share of another machine", "path-absolute", named(b"\\\\host\\share")),
    Vector("path-up", "out of the folder", "path-climbing", named(b"../../etc/passwd")),
    Vector("path-up-inside", "up in the middle", "path-climbing", named(b"docs/../../x")),
    Vector("path-up-end", "up at the end", "path-climbing", named(b"docs/..")),
    Vector("path-up-backslash", "up with backslashes", "path-climbing", named(b"docs\\..\\..\\x")),
    Vector("path-up-release", "release.json by another way", "path-climbing", header("release.json", name=b"x/../release.json")),
    Vector("path-up-signature", "a signature out of its folder", "path-climbing", header(SIGNATURE, name=b"signatures/../x.sigstore.json")),
    Vector("path-dot", "a path that begins with ./", "path-spelling", named(b"./CHANGELOG.md")),
    Vector("path-dot-inside", "a dot in the middle", "path-spelling", named(b"docs/./x")),
    Vector("path-double-slash", "two slashes", "path-spelling", named(b"docs//x")),
    Vector("path-slash-end", "a slash at the end", "path-spelling", named(b"CHANGELOG.md/")),
    Vector("path-empty", "no name", "path-spelling", named(b"")),
    Vector("path-backslash", "a backslash", "path-spelling", named(b"docs\\x")),
    Vector("path-space", "a blank at the end", "path-spelling", named(b"CHANGELOG.md ")),
    Vector("path-newline", "a newline", "path-spelling", named(b"CHANGELOG.md\nx")),
    Vector("path-escape", "a terminal escape", "path-spelling", named(b"\x1b[2JCHANGELOG.md")),
    Vector("path-stream", "an NTFS stream", "path-spelling", named(b"CHANGELOG.md:hidden")),
    Vector("path-utf-8", "an accent", "path-spelling", named("CHANGÉLOG.md".encode())),
    Vector("path-overlong", "a slash in overlong UTF-8", "path-spelling", named(b"..\xc0\xafx")),
    Vector("path-tilde", "a home folder", "path-spelling", named(b"~/x")),
    Vector("path-long", "100 bytes with a blank among them", "path-spelling", named(b"a " * 50)),
    *(
        Vector(f"padding-{what}", f"a byte in the padding of {of}", "tar-padding", padded(of))
        for what, of in (("file", "CHANGELOG.md"), ("release", "release.json"), ("signature", SIGNATURE), ("packing", "packing.json"), ("blob", BLOB))
    ),
]
# fmt: on
