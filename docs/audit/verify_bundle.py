#!/usr/bin/env python3
"""Check a sealift bundle without any program of sealift: Python's standard library, `zstd` and `openssl` do.
    python3 verify_bundle.py --key release.pub lan-chat-2.1.0-linux-amd64.bundle.tar.zst
Written from installer/bundle/FORMAT.md alone. The file is read once; a frame (8 MiB at most) and the head are held;
nothing is extracted, nothing out of the file is printed before the signatures held. The first refusal wins.
Exit: 0 good, 2 usage, 3 malformed, 4 corrupt or incomplete (any delta), 5 untrusted, 6 another product.
"""

import argparse
import base64
import datetime
import hashlib
import json
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

BLANK, LAYOUT = "\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0", ["oci-layout", "index.json"]
Refused = type("Refused", (Exception,), {"__doc__": "Exit code, and why the bundle is refused."})
NAMES = {0: "GOOD", 3: "REFUSED, malformed", 4: "REFUSED, corrupt", 5: "REFUSED, untrusted", 6: "REFUSED, incompatible"}


def demand(condition, code, text):
    if not condition:
        raise Refused(code, text)


class Frames:  # the file as a row of zstd frames, each measured by its block headers (RFC 8878) before zstd sees it
    def __init__(self, file):
        self.file, self.seen = file, []

    def take(self, count):
        data = self.file.read(count)
        demand(len(data) == count, 4, f"the file ends inside frame {len(self.seen) + 1}")
        return data

    def next(self, size):  # the content of the next frame, which must declare exactly this size and unpack to it
        raw, number, inside, blocks, last = bytearray(self.take(5)), f"frame {len(self.seen) + 1}", 0, 0, 0
        demand(raw[:4] == b"\x28\xb5\x2f\xfd", 3, f"no zstd frame where {number} must begin")
        demand(not raw[4] & 31 and raw[4] & 224, 3, f"{number} has a dictionary, checksum, reserved bit, or no size")
        if not raw[4] & 0b100000:
            raw += self.take(1)
            demand(raw[5] <= 13 << 3, 3, f"{number} wants a window above 8 MiB")
        width = (1, 2, 4, 8)[raw[4] >> 6]
        raw += self.take(width)
        declared = int.from_bytes(raw[-width:], "little") + 256 * (width == 2)
        demand(declared == size, 3, f"{number} declares {declared} bytes where {size} belong")
        while not last:
            value = int.from_bytes(block := self.take(3), "little")
            last, kind, length = value & 1, value >> 1 & 3, value >> 3
            demand(kind < 3 and length <= 2**17, 3, f"{number} has a block of no known kind or size")
            inside, blocks = inside + (length if kind < 2 else 0), blocks + 1
            demand(inside <= size and blocks <= size // 2**10 + 8, 3, f"{number} holds more than it declares")
            raw += block + self.take(1 if kind == 1 else length)
        with tempfile.TemporaryFile() as spool:
            spool.write(raw)
            spool.seek(0)
            with subprocess.Popen(["zstd", "-dcq"], stdin=spool, stdout=-1, stderr=-3) as zstd:  # a pipe, /dev/null
                data = zstd.stdout.read(size + 1)  # what comes after that ends in a broken pipe
        demand(len(data) == size and zstd.returncode == 0, 4, f"zstd does not unpack {number} to {size} bytes")
        self.seen.append((len(raw), size))
        return data

    def member(self, size):  # its content: frames of 8 MiB, the last one filled with zeros to a multiple of 512
        whole = -(-size // 512) * 512
        for at in range(0, whole, 2**23):
            data = self.next(min(2**23, whole - at))
            yield data[: size - at]
            demand(not any(data[size - at :]), 3, "the padding of a member is not zero")


def header(name, size, mode):  # the one tar header that a member of this name, size and mode may have
    octal = b"%011o\0" % size if size < 2**33 else b"\x80" + size.to_bytes(11, "big")
    front = name.encode("ascii").ljust(100, b"\0") + b"%07o\0" % mode + b"0000000\0" * 2 + octal + b"00000000000\0"
    back = b"0" + bytes(100) + b"ustar  \0" + bytes(247)
    return front + b"%06o\0 " % (sum(front) + 8 * 32 + sum(back)) + back


def load_key(path):  # DER of a P-256 SubjectPublicKeyInfo, uncompressed: one spelling each, so that distinct keys count
    command = ["openssl", "pkey", "-pubin", "-in", str(path), "-outform", "DER"]
    der = subprocess.run(command, capture_output=True, check=False).stdout
    if len(der) != 91 or not der.startswith(bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")):
        raise argparse.ArgumentTypeError(f"{path} holds no public key of P-256 in PEM")
    return der


def openssl_verifies(der, signature, message):
    whole = signature[:1] == b"0" and len(signature) == 2 + signature[1]  # openssl lets bytes after the DER pass
    with tempfile.TemporaryDirectory() as folder:
        key, proof = Path(folder, "key"), Path(folder, "proof")
        key.write_text(f"-----BEGIN PUBLIC KEY-----\n{base64.encodebytes(der).decode()}-----END PUBLIC KEY-----\n")
        proof.write_bytes(signature)
        command = ["openssl", "dgst", "-sha256", "-verify", key, "-signature", proof]
        return whole and subprocess.run(command, input=message, capture_output=True, check=False).returncode == 0


def signers(raw, files, keys, threshold):  # the given keys whose signature over raw holds, and what was not judged
    demand(files, 5, "it is not signed")
    claims = [json.loads(s.decode(), object_pairs_hook=lambda p: len(dict(p)) == len(p) and dict(p)) for s in files]
    demand(all(fits(claim, SIGNATURE) for claim in claims), 3, "a signature says more or other than it may")
    trusted, found = {hashlib.sha256(key).digest(): key for key in keys}, set()
    by_key = [claim for claim in claims if "publicKey" in claim["verificationMaterial"]]
    for claim in by_key:
        message, hint = claim["messageSignature"], base64.b64decode(claim["verificationMaterial"]["publicKey"]["hint"])
        right = base64.b64decode(message["messageDigest"]["digest"]) == hashlib.sha256(raw).digest() and hint in trusted
        if right and openssl_verifies(trusted[hint], base64.b64decode(message["signature"]), raw):
            found.add(hint.hex())
    demand(len(found) >= threshold, 5, f"{len(found)} of the given keys have signed it, {threshold} must")
    others = f", not judged: {len(claims) - len(by_key)} by certificates (cosign can)" if claims != by_key else ""
    return f"sha256:{' sha256:'.join(sorted(found))}{others}"


# Schemas. Rules: pattern, range, constant, {closed object}, [list of], (one, or, other), [pattern of names, of values].
B64 = "(?=.)([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?"
COUNT, HASH, ANY, FLAG = "0|[1-9][0-9]{0,15}", "(?=.{44}$)" + B64 + "(?<=[^=]=)", "(?s).*", (True, False)
PROOF = {"checkpoint": {"envelope": ANY}, "logIndex": COUNT, "treeSize": COUNT, "rootHash": HASH, "hashes?": [HASH]}
LOGGED = {"inclusionProof": PROOF, "canonicalizedBody": B64, "logId": {"keyId": B64}, "logIndex": COUNT}
LOGGED |= {"kindVersion": {"kind": "hashedrekord", "version": r"0\.0\.[12]"}, "integratedTime?": COUNT}
LOGGED["inclusionPromise?"], STAMPS = {"signedEntryTimestamp": B64}, {"rfc3161Timestamps?": [{"signedTimestamp": B64}]}
KEYLESS = {"certificate": {"rawBytes": B64}, "tlogEntries": [LOGGED], "timestampVerificationData?": STAMPS}
SIGNATURE = {"mediaType": r"application/vnd\.dev\.sigstore\.bundle\.v0\.3\+json"}
SIGNATURE["messageSignature"] = {"messageDigest": {"algorithm": "SHA2_256", "digest": HASH}, "signature": B64}
SIGNATURE["verificationMaterial"] = ({"publicKey": {"hint": HASH}, "tlogEntries?": [()]}, KEYLESS)
SIZE, DIGEST, NAME, URL = range(2**50 + 1), "sha256:[0-9a-f]{64}", "[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", "/[!-~]*"
NUMBER, PRE, LONG = "(0|[1-9][0-9]*)", "(0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)", "(?s).{0,2000}"
VERSION = rf"(?=.{{1,64}}$){NUMBER}\.{NUMBER}\.{NUMBER}(-{PRE}(\.{PRE})*)?"
RANGE = (None, rf"(?=.{{1,200}}$)((==|!=|<=|>=|<|>){NUMBER}(\.{NUMBER}){{0,2}}(,(?!$)|$))+")
PATH = r"(?=.{1,100}$)(?!(.*/)?\.\.?(/|$))[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*"
PORT = ":(?=[0-9]{1,5}(/|$))([1-9][0-9]{0,3}|[1-5][0-9]{4}|6([0-4][0-9]{3}|5([0-4][0-9]{2}|5([0-2][0-9]|3[0-5]))))"
HOMES = {"binary": "binaries/.+", "changelog": r"CHANGELOG\.md", "layout": r"oci-layout|index\.json"}
HOMES.update(chart="charts/.+", doc="docs/.+", program="program/.+", template="templates/.+", tool="tools/.+")
FILE = {"path": PATH, "role": "|".join(HOMES), "size": SIZE, "digest": DIGEST, "mode": "0644|0755"}
BLOB = {"digest": DIGEST, "size": SIZE, "uncompressed": (None, SIZE)}
BLOB["media_type"] = "(?=.{1,127}$)[a-z0-9][a-z0-9.+-]*/[a-z0-9][a-z0-9.+-]*"
MANIFEST = r"application/vnd\.(oci\.image\.(manifest|index)\.v1|docker\.distribution\.manifest\.(list\.)?v2)\+json"
IMAGE = {"name": NAME, "digest": DIGEST, "manifests": [{**BLOB, "media_type": MANIFEST}], "blobs": [BLOB]}
IMAGE["reference"] = r"(?=.{1,255}$)(?!(.*/)?\.{0,2}(/|$))[a-z0-9][A-Za-z0-9._/:@-]*"
HEALTH = (None, {"http": f"(?=.{{1,200}}$){PORT}{URL}", "tcp": None}, {"http": None, "tcp": PORT})
SERVICE = {"image": NAME, "replicas": range(1, 33), "health": HEALTH, "needs": [NAME], "state": "none|shared"}
ENTRY = {"service": NAME, "port": range(1, 2**16), "protocol": "http|tcp"}
SMOKE = {"entry": NAME, "http": "(?=.{1,500}$)" + URL, "expect": range(100, 600), "contains": (None, "(?s).{0,500}")}
KINDS = {"string": [LONG], "integer": [range(1 - 2**53, 2**53)], "boolean": [*FLAG], "list": []}
INPUT_NAME, ABOUT = r"(?=.{1,80}$)[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*", {"since": (None, VERSION), "description": LONG}
INPUT = tuple({**ABOUT, "type": kind, "default": (None, *rules)} for kind, rules in KINDS.items())
RELEASE = {"type": r"application/vnd\.sealift\.release\.v1\+json", "files": [FILE], "images": [IMAGE], "smoke": [SMOKE]}
RELEASE.update(product=NAME, channel=NAME, version=VERSION, platform="linux/(amd64|arm64)", deploy={"compose": PATH})
RELEASE.update(created="(?!0000)[0-9]{4}-(0[1-9]|1[0-2])-[0-9]{2}T([01][0-9]|2[0-3])(:[0-5][0-9]){2}Z")
RELEASE.update(minimum_root_version=range(1, 2**53), strategy="blue-green|rolling", entry_points=[NAME, ENTRY])
RELEASE.update(edge=dict.fromkeys(["haproxy", "registry"], (None, NAME)), services=[NAME, SERVICE])
RELEASE.update(requires=dict.fromkeys(["upgrade_from", "installer"], RANGE), inputs=[INPUT_NAME, INPUT])
HEAD = r"packing\.json|signatures/[a-z0-9][a-z0-9._-]{0,60}\.sigstore\.json|trust/[1-9][0-9]{0,8}\.root\.json"
LIB, CAPS = "[0-9][0-9A-Za-z.+-]{0,31}", {"r": (2**23, 1), "s": (2**16, 32), "t": (2**19, 64), "p": (2**22, 1)}
GZIP = {"kind": "gzip", "header": "([0-9a-f]{2}){10,512}", "level": range(1, 10), "library": LIB}
ZSTD = {"kind": "zstd", "at_once": FLAG, "checksum": FLAG, "sized": FLAG, "level": range(1, 20), "library": LIB}
PATCH = {**dict.fromkeys(["base", "digest", "target"], DIGEST), "encoding": ({"kind": "none"}, GZIP, ZSTD)}
PATCH.update(dict.fromkeys(["base_unpacked", "reach", "unpacked"], range(2**33 + 1)), size=range(2**31 + 1))
FULL = {"type": r"application/vnd\.sealift\.packing\.v1\+json", "kind": "full"}
DELTA = {**FULL, "type": FULL["type"].replace("v1", "v2"), "kind": "delta", "absent": [PATH], "patches": [PATCH]}
PACKING = (FULL, {**DELTA, "since": [r"(?=.{1,100}$)[!-~]+( [!-~]+)*"]})


def fits(value, rule):
    if isinstance(rule, tuple):
        return any(fits(value, one) for one in rule)
    if isinstance(rule, str):
        return isinstance(value, str) and bool(re.fullmatch(rule, value))
    if isinstance(rule, dict):  # what a name with ? names may be missing
        names = {name.rstrip("?"): name for name in rule}
        known = isinstance(value, dict) and value.keys() <= names.keys()
        return known and all(fits(value[k], rule[n]) if k in value else k != n for k, n in names.items())
    if isinstance(rule, list) and isinstance(value, dict):
        return len(rule) == 2 and all(fits(k, rule[0]) and fits(value[k], rule[1]) for k in value)
    if isinstance(rule, list):
        return isinstance(value, list) and len(rule) == 1 and all(fits(item, rule[0]) for item in value)
    return type(value) is int and value in rule if isinstance(rule, range) else value is rule


def signed_members(release):  # in their order: name, size, mode, sha256; refuses what patterns cannot see
    demand(fits(release, RELEASE), 3, "release.json does not keep its schema")
    datetime.date.fromisoformat(release["created"][:10])  # a ValueError where the calendar has no such day
    shown = {sign for one in release["inputs"].values() for sign in one["description"]} - {"\t", "\n"}
    demand(not {"Cc", "Cf", "Zl", "Zp"} & {*map(unicodedata.category, shown)} | shown & set(BLANK), 3, "hidden signs")
    names, images = [one["path"] for one in release["files"]], [one["name"] for one in release["images"]]
    services, entries = release["services"], release["entry_points"]
    used = [("templates/" + release["deploy"]["compose"], names)] + [(s["image"], images) for s in services.values()]
    used += [(need, services) for service in services.values() for need in service["needs"]]
    used += [(one["service"], [n for n in services if services[n]["state"] != "shared"]) for one in entries.values()]
    used += [(one["entry"], [n for n in entries if entries[n]["protocol"] == "http"]) for one in release["smoke"]]
    used += [(image, [None, *images]) for image in release["edge"].values()]
    demand(all(len({n, *s["needs"]}) == len(s["needs"]) + 1 for n, s in services.items()), 3, "needs itself, or twice")
    demand(all(name in known for name, known in used), 3, "release.json names something that is not in it")
    alone = len(lower := {name.lower() for name in names}) == len(names) and images == sorted(set(images))
    demand(alone and names == sorted(names), 3, "files or images repeated, in another case too, or not sorted")
    demand(all(re.fullmatch(HOMES[one["role"]], one["path"]) for one in release["files"]), 3, "a file out of place")
    demand([name in names for name in LAYOUT] == [bool(images)] * 2, 3, "images without their layout, or the reverse")
    files = {one["path"]: (one["size"], int(one["mode"], 8), one["digest"][7:]) for one in release["files"]}
    sizes, kinds = {digest: size for size, _, digest in files.values()}, {}
    demand(all(sizes[digest] == size for size, _, digest in files.values()), 3, "one digest of two sizes")
    demand(not any(f[:i] in lower for f in lower for i, sign in enumerate(f) if sign == "/"), 3, "a file in a file")
    for image in release["images"]:
        listed = [(blob, blob["media_type"]) for blob in image["manifests"]] + [(blob, "") for blob in image["blobs"]]
        demand(len({blob["digest"] for blob, _ in listed}) == len(listed), 3, "a digest twice in one image")
        demand(image["digest"] in [blob["digest"] for blob in image["manifests"][-1:]], 3, "not the last manifest")
        for blob, kind in listed:
            right = sizes.setdefault(blob["digest"][7:], blob["size"]) == blob["size"]
            demand(right and kinds.setdefault(blob["digest"][7:], kind) == kind, 3, "one digest of two sizes or kinds")
    order = sorted(files, key=lambda name: (LAYOUT.index(name) if name in LAYOUT else -1, name))
    return [(name, *files[name]) for name in order] + [(f"blobs/sha256/{d}", sizes[d], 0o644, d) for d in sorted(kinds)]


def followers(packing, release, members):  # what follows it, patches last; how much of the signed list does not
    delta = json.loads(packing.decode("utf-8"))
    again = json.dumps(delta, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8") + b"\n"
    demand(again == packing and fits(delta, PACKING), 3, "packing.json is not canonical, or not as it must be")
    patches, absent, blob = delta.get("patches", []), delta.get("absent", []), "blobs/sha256/"
    kept = {one["path"] for one in release["files"] if one["role"] in ("template", "doc", "changelog", "layout")}
    kept |= {blob + one["digest"][7:] for image in release["images"] for one in image["manifests"]}
    targets = {blob + one["target"][7:] for one in patches}
    pairs = sorted(one["target"] + one["base"] for one in patches)
    lists = [delta.get("since", ["-"]), absent, [one["digest"] for one in patches], pairs]
    demand(all(one == sorted(set(one)) for one in lists) and 0 < len(lists[0]) < 65, 3, "not sorted, or repeated")
    gone, listed = targets.union(absent), {one[0] for one in members}
    right = gone <= listed - kept and not targets & set(absent) and all(one["base"] != one["target"] for one in patches)
    demand(right and (gone or "since" not in delta), 3, "packing.json leaves out what it may not, or nothing")
    rest = [("patches/" + one["digest"][7:], one["size"], 0o644, one["digest"][7:]) for one in patches]
    return [one for one in members if one[0] not in gone] + rest, len(gone)


def check(file, keys, threshold, product, say):  # all of a bundle, in the order of the page; says a line for each check
    demand(re.match(rb"(?s)\x28\xb5\x2f\xfd.", file.peek(5)), 3, "not a bundle: it does not begin as zstd does")
    head, name, frames = {}, "", Frames(file)
    while name != "packing.json":
        last, block = name, frames.next(512)
        name, size = block[:100].split(b"\0")[0].decode("ascii"), int(block[124:135], 8)
        demand(size >= 0 and block == header(name, size, 0o644), 3, "a tar header with more than it needs")
        right = re.fullmatch(HEAD if head else r"release\.json", name) and (name == "packing.json" or name > last)
        demand(right, 3, "a member out of place, repeated, or not sorted")
        few = sum(one[0] == name[0] for one in head) < CAPS[name[0]][1]
        demand(few and size <= CAPS[name[0]][0], 3, "a member too large, or too many")
        head[name] = b"".join(frames.member(size))
    raw, packing = head.pop("release.json"), head.pop("packing.json")
    say(f"ok  head: release.json of {len(raw)} bytes, {len(head)} signatures and roots, packing.json")
    say(f"ok  signed by {signers(raw, [data for name, data in head.items() if name[0] == 's'], keys, threshold)}")
    release = json.loads(raw.decode("utf-8"))
    again = json.dumps(release, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8") + b"\n"
    demand(again == raw, 3, "release.json is not in its canonical spelling, which leaves no room for repeated keys")
    members = signed_members(release)
    say(f"ok  release.json: canonical, {len(members)} members listed, sha256:{hashlib.sha256(raw).hexdigest()}")
    demand(product in (None, release["product"]), 6, "a release of another product")
    carried, gone = followers(packing, release, members)
    for name, size, mode, digest in carried:
        demand(frames.next(512) == header(name, size, mode), 3, f"not the header that {name} must have")
        running = hashlib.sha256()
        for piece in frames.member(size):
            running.update(piece)
        demand(running.hexdigest() == digest, 4, f"{name} is not what was signed")
        say(f"ok  {name}: {size} bytes" + ("" if name.endswith(digest) else f", sha256:{digest}"))
    demand(not any(frames.next(1024)), 3, "a member that nobody has named")
    numbers = [number for pair in frames.seen for number in pair] + [len(frames.seen)]
    table = struct.pack(f"<II{len(numbers)}IBI", 0x184D2A5E, 4 * len(numbers) + 5, *numbers, 0, 0x8F92EAB1)
    found = file.read(len(table) + 1)
    demand(found == table, 4 if table.startswith(found) else 3, "a seek table that is cut, lies, or is not the end")
    say(f"ok  end: archive closed, seek table agrees with {len(frames.seen)} frames, nothing follows")
    demand(not gone, 4, f"incomplete: a delta, and {gone} members must come from what it builds on")


def judge(path, keys, threshold=1, product=None, say=lambda line: None):  # exit code and reason for one bundle
    try:
        demand(path.is_file() or not path.exists(), 3, "a folder, pipe or device")
        with path.open("rb") as file:
            check(file, keys, threshold, product, say)
    except (OSError, RecursionError, Refused, ValueError) as e:
        return e.args if isinstance(e, Refused) else (4, str(e)) if isinstance(e, OSError) else (3, "it does not parse")
    return 0, "every byte is what the given keys have signed"


def main():
    parser = argparse.ArgumentParser(description="check a sealift bundle with zstd and openssl alone")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--key", action="append", required=True, type=load_key, help="public key in PEM; repeatable")
    parser.add_argument("--threshold", type=int, default=1, help="how many of the keys must have signed")
    parser.add_argument("--product", help="refuse the releases of any other product")
    if not (shutil.which("zstd") and shutil.which("openssl")):
        parser.error("zstd and openssl must be installed")
    options = parser.parse_args()
    if not 1 <= options.threshold <= len(set(options.key)):
        parser.error("--threshold must lie between 1 and the number of different keys")
    code, text = judge(options.bundle, options.key, options.threshold, options.product, print)
    print(f"{NAMES[code]}: {text}")
    return code


if __name__ == "__main__":
    sys.exit(main())
