"""Documents: the spelling and the content of release.json and packing.json. All are validly signed."""

# ruff: noqa: E501 - a table reads best with one row per line
from __future__ import annotations

from collections.abc import Callable
from typing import Any

from installer.bundle.packing import Packing
from installer.bundle.strictjson import canonical
from tests.vectors.forge import CONFIG_TYPE
from tests.vectors.vector import Make, Vector, drop, packing, put, raw, value

HEX = "a" * 64
IMAGE = ("images", 0)
BLOB = ("images", 0, "blobs", 0)
FILE = ("files", 0)
WEB = ("services", "web")


def text(old: str, new: str) -> Make:
    """One place in the raw JSON spelled otherwise."""

    def change(data: bytes) -> bytes:
        if old.encode() not in data:
            raise ValueError(f"not in release.json: {old}")
        return data.replace(old.encode(), new.encode("utf-8", "surrogatepass"), 1)

    return raw(change)


def fielded(spelling: str) -> Make:
    """A number or value in the place of `minimum_root_version`."""
    return text('"minimum_root_version":1', f'"minimum_root_version":{spelling}')


def deep(levels: int) -> Make:
    return fielded("[" * levels + "1" + "]" * levels)


def doubled(*place: str | int) -> Make:
    """The first item of a list once more, right behind itself."""

    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for step in place:
            node = node[step]
        node.insert(1, node[0])

    return value(change)


def reversed_(name: str) -> Make:
    return value(lambda document: document[name].reverse())


def second_image(change: Callable[[dict[str, Any]], object]) -> Make:
    """A second image that shares the blobs of the first one."""

    def make(document: dict[str, Any]) -> None:
        import copy

        other = copy.deepcopy(document["images"][0])
        other["name"] = "worker"
        change(other)
        document["images"].append(other)

    return value(make)


def at_path(path: str) -> Make:
    """A file listed at another path; every other rule is kept."""

    def change(document: dict[str, Any]) -> None:
        document["files"][0].update(path=path)
        document["files"].sort(key=lambda file: str(file["path"]))

    return value(change)


def moved(data: bytes) -> bytes:
    """The first key of the document at its end."""
    first, rest = data[1:-2].split(b',"', 1)
    return b'{"' + rest + b"," + first + b"}\n"


def twin(document: dict[str, Any]) -> None:
    """A second file whose path differs in one capital; the list stays sorted."""
    document["files"].insert(-1, {**document["files"][-1], "path": "tools/Compose"})


def two_sizes(document: dict[str, Any]) -> None:
    """Another file with the digest of the first one, but with its own size."""
    first = document["files"][0]
    next(file for file in document["files"] if file["size"] != first["size"]).update(digest=first["digest"])


def file_and_folder(document: dict[str, Any]) -> None:
    """A file below the path of the last one; the list stays sorted."""
    last = document["files"][-1]
    document["files"].append({**last, "path": f"{last['path']}/x"})


def file_and_folder_in_capitals(document: dict[str, Any]) -> None:
    """A file below the path of the last one, spelled in capitals: they meet where case makes no difference."""
    last = document["files"][-1]
    folder, _, name = last["path"].rpartition("/")
    document["files"].insert(-1, {**last, "path": f"{folder}/{name.upper()}/x"})


def unsorted_images(document: dict[str, Any]) -> None:
    document["images"].insert(0, {**document["images"][0], "name": "worker"})


def blob_and_manifest(document: dict[str, Any]) -> None:
    image = document["images"][0]
    image["blobs"] = [dict(image["blobs"][0])]
    other = {**image, "name": "worker", "manifests": [*image["manifests"]], "blobs": [dict(image["manifests"][0])]}
    other["manifests"] = [{**image["manifests"][0], "digest": f"sha256:{HEX}"}]
    other["digest"] = f"sha256:{HEX}"
    document["images"].append(other)


def shared_entry(document: dict[str, Any]) -> None:
    document["entry_points"]["web"]["service"] = "store"


def _packing(**fields: Any) -> Make:
    return packing(canonical({**Packing().model_dump(), **fields}))


# fmt: off
SPELLING = [
    Vector("json-bom", "a byte order mark", "json-invalid", raw(lambda b: b"\xef\xbb\xbf" + b)),
    Vector("json-utf-16", "UTF-16", "json-not-utf8", raw(lambda b: b.decode().encode("utf-16"))),
    Vector("json-utf-16-plain", "UTF-16 without a mark", "json-invalid", raw(lambda b: b.decode().encode("utf-16-le"))),
    Vector("json-latin-1", "a letter in Latin-1", "json-not-utf8", raw(lambda b: b.replace(b"where mail", b"wh\xe9re mail"))),
    Vector("json-overlong", "a letter in overlong UTF-8", "json-not-utf8", raw(lambda b: b.replace(b"where", b"wh\xc1\xa5re"))),
    Vector("json-cesu", "half a surrogate pair as bytes", "json-not-utf8", text("where", "wh\ud800re")),
    Vector("json-cut-letter", "a letter that is cut off", "json-not-utf8", raw(lambda b: b.replace(b"where", b"wh\xc3"))),
    Vector("json-surrogate-high", "the first half of a pair as an escape", "json-surrogate", text("where", "wh\\ud800re")),
    Vector("json-surrogate-low", "the second half as an escape", "json-surrogate", text("where", "wh\\udc00re")),
    Vector("json-surrogate-key", "half a pair in a key", "json-surrogate", text('"mail.host"', '"mail.host\\ud800"')),
    Vector("key-twice", "a key twice, the last one wins elsewhere", "json-duplicate-key", text('"product":"p"', '"product":"p","product":"q"')),
    Vector("key-twice-same", "a key twice with one value", "json-duplicate-key", text('"product":"p"', '"product":"p","product":"p"')),
    Vector("key-twice-escaped", "a key twice, once in escapes", "json-duplicate-key", text('"product":"p"', '"product":"p","\\u0070roduct":"q"')),
    Vector("key-twice-nested", "a key twice, deep inside", "json-duplicate-key", text('"role":"changelog"', '"role":"changelog","role":"tool"')),
    Vector("key-twice-type", "two types", "json-duplicate-key", text('"type":"application', '"type":"other","type":"application')),
    Vector("number-float", "1.0", "json-number", fielded("1.0")),
    Vector("number-exponent", "1e0", "json-number", fielded("1e0")),
    Vector("number-exponent-huge", "1e400, infinity elsewhere", "json-number", fielded("1e400")),
    Vector("number-fraction-long", "a fraction of 100,000 digits", "json-number", fielded("1." + "0" * 100000)),
    Vector("number-nan", "NaN", "json-number", fielded("NaN")),
    Vector("number-infinity", "Infinity", "json-number", fielded("Infinity")),
    Vector("number-minus-infinity", "-Infinity", "json-number", fielded("-Infinity")),
    Vector("number-2-53", "2^53, which some readers cannot hold", "json-number", fielded(str(2**53))),
    Vector("number-minus-2-53", "-2^53", "json-number", fielded(str(-(2**53)))),
    Vector("number-2-64", "2^64", "json-number", fielded(str(2**64))),
    Vector("number-digits", "a number of 100,000 digits", "json-number", fielded("9" * 100000)),
    Vector("number-minus-zero", "-0", "json-not-canonical", fielded("-0")),
    Vector("number-zeros", "01", "json-invalid", fielded("01")),
    Vector("number-plus", "+1", "json-invalid", fielded("+1")),
    Vector("number-hex-json", "0x1", "json-invalid", fielded("0x1")),
    Vector("depth-33", "one level more than allowed", "json-depth", deep(32)),
    Vector("depth-500", "500 levels", "json-depth", deep(500)),
    Vector("depth-million", "a million levels, which overflow a stack", "json-depth", deep(10**6)),
    Vector("depth-open", "a million brackets that never close", "json-depth", raw(lambda b: b"[" * 10**6)),
    Vector("space-no-newline", "no newline at the end", "json-not-canonical", raw(lambda b: b[:-1])),
    Vector("space-two-newlines", "two newlines at the end", "json-not-canonical", raw(lambda b: b + b"\n")),
    Vector("space-crlf", "a Windows line end", "json-not-canonical", raw(lambda b: b[:-1] + b"\r\n")),
    Vector("space-first", "a blank in front", "json-not-canonical", raw(lambda b: b" " + b)),
    Vector("space-inside", "a blank after a colon", "json-not-canonical", text('"product":', '"product": ')),
    Vector("space-tab", "a tab", "json-not-canonical", text('"product":', '"product":\t')),
    Vector("space-form-feed", "a form feed, which JSON does not know", "json-invalid", text('"product":', '"product":\x0c')),
    Vector("keys-unsorted", "keys in another order", "json-not-canonical", raw(moved)),
    Vector("escape-letter", "a letter as an escape", "json-not-canonical", text('"product":"p"', '"product":"\\u0070"')),
    Vector("escape-slash", "a slash as an escape", "json-not-canonical", text("linux/amd64", "linux\\/amd64")),
    Vector("escape-accent", "an accent as an escape", "json-not-canonical", text("where", "wh\\u00e9re")),
    Vector("escape-unknown", "an escape that JSON does not know", "json-invalid", text("where", "wh\\x65re")),
    Vector("control-raw", "a raw control character in a string", "json-invalid", text("where", "wh\x01re")),
    Vector("nul-raw", "a zero byte", "json-invalid", raw(lambda b: b + b"\0")),
    Vector("comment", "a comment", "json-invalid", text('"product":', '/* x */"product":')),
    Vector("comma-trailing", "a comma before the end", "json-invalid", raw(lambda b: b[:-2] + b",}\n")),
    Vector("quotes-single", "single quotes", "json-invalid", text('"product":"p"', "'product':'p'")),
    Vector("two-documents", "two documents", "json-invalid", raw(lambda b: b + b)),
    Vector("document-empty", "no bytes", "json-invalid", raw(lambda b: b"")),
    Vector("document-cut", "half a document", "json-invalid", raw(lambda b: b[: len(b) // 2])),
    Vector("document-null", "null", "release-type", raw(lambda b: b"null\n")),
    Vector("document-list", "a list", "release-type", raw(lambda b: b"[]\n")),
    Vector("document-text", "a text", "release-type", raw(lambda b: b'"release"\n')),
    Vector("document-empty-object", "an object of nothing", "release-type", raw(lambda b: b"{}\n")),
]
# fmt: on
# fmt: off
CONTENT = [
    Vector("good-shared-blobs", "two images that share a blob and call its type differently", None, second_image(lambda i: i["blobs"][0].update(media_type="application/vnd.docker.container.image.v1+json"))),
    Vector("type-permit", "a signed permit passed off as a release", "release-type", put("type", to="application/vnd.sealift.permit.v1+json")),
    Vector("type-packing", "a packing passed off as a release", "release-type", put("type", to="application/vnd.sealift.packing.v1+json")),
    Vector("type-version-2", "a release of a format to come", "release-type", put("type", to="application/vnd.sealift.release.v2+json")),
    Vector("type-number", "a type that is a number", "release-type", put("type", to=1)),
    Vector("type-gone", "no type", "release-type", drop("type")),
    Vector("type-space", "a type with a blank", "release-type", put("type", to="application/vnd.sealift.release.v1+json ")),
    Vector("unknown-top", "a field that nobody knows", "release-unknown-field", put("surprise", to=1)),
    Vector("unknown-case", "a field in capitals", "release-unknown-field", put("Product", to="p")),
    Vector("unknown-image", "such a field in an image", "release-unknown-field", put(*IMAGE, "platform", to="x")),
    Vector("unknown-blob", "such a field in a blob", "release-unknown-field", put(*BLOB, "urls", to=["http://example.invalid"])),
    Vector("unknown-file", "such a field in a file", "release-unknown-field", put(*FILE, "target", to="/etc")),
    Vector("unknown-service", "such a field in a service", "release-unknown-field", put(*WEB, "privileged", to=True)),
    Vector("unknown-requires", "such a field in the requirements", "release-unknown-field", put("requires", "root", to=1)),
    Vector("gone-product", "no product", "release-missing-field", drop("product")),
    Vector("gone-files", "no list of files", "release-missing-field", drop("files")),
    Vector("gone-digest", "a file without digest", "release-missing-field", drop(*FILE, "digest")),
    Vector("gone-size", "a blob without size", "release-missing-field", drop(*BLOB, "size")),
    Vector("default-left-out", "a default that is not spelled out", "release-spelling", drop(*WEB, "replicas")),
    Vector("default-null-left-out", "a null that is not spelled out", "release-spelling", drop(*BLOB, "uncompressed")),
    Vector("kind-text-number", "a size in quotes", "release-invalid", put(*BLOB, "size", to="9")),
    Vector("kind-bool-number", "true as a number", "release-invalid", put("minimum_root_version", to=True)),
    Vector("kind-number-text", "a version that is a number", "release-invalid", put("version", to=1)),
    Vector("kind-null", "null where a text must be", "release-invalid", put("product", to=None)),
    Vector("kind-list-object", "a list where an object must be", "release-invalid", put("services", to=[])),
    Vector("kind-object-list", "an object where a list must be", "release-invalid", put("files", to={})),
    Vector("digest-upper-case", "a digest in capitals", "release-digest", put(*FILE, "digest", to="sha256:" + "A" * 64)),
    Vector("digest-path", "a digest that is a path", "release-digest", put(*FILE, "digest", to="sha256:../../../../etc/passwd")),
    Vector("digest-path-64", "a path of 64 letters", "release-digest", put(*FILE, "digest", to="sha256:" + "../" * 21 + "x")),
    Vector("digest-md5", "MD5", "release-digest", put(*FILE, "digest", to="md5:" + "a" * 32)),
    Vector("digest-sha512", "SHA-512, which this version does not know", "release-digest", put(*FILE, "digest", to="sha512:" + "a" * 128)),
    Vector("digest-short", "a digit too few", "release-digest", put(*FILE, "digest", to="sha256:" + "a" * 63)),
    Vector("digest-long", "a digit too many", "release-digest", put(*FILE, "digest", to="sha256:" + "a" * 65)),
    Vector("digest-newline", "a newline at the end", "release-digest", put(*FILE, "digest", to=f"sha256:{HEX}\n")),
    Vector("digest-plain", "no algorithm", "release-digest", put(*FILE, "digest", to=HEX)),
    Vector("digest-empty", "no digest", "release-digest", put(*FILE, "digest", to="")),
    Vector("digest-digits", "digits of another script", "release-digest", put(*FILE, "digest", to="sha256:" + "\u0661" * 64)),
    Vector("digest-of-image", "an image's digest that is none", "release-digest", put(*IMAGE, "digest", to="latest")),
    Vector("digest-of-blob", "a blob's digest that is none", "release-digest", put(*BLOB, "digest", to="sha256:")),
    Vector("size-negative-json", "a negative size", "size-negative", put(*BLOB, "size", to=-1)),
    Vector("size-large-json", "a size beyond 2^50", "size-overflow", put(*BLOB, "size", to=2**50 + 1)),
    Vector("size-largest-json", "the largest number", "size-overflow", put(*FILE, "size", to=2**53 - 1)),
    Vector("size-unpacked-json", "an uncompressed size beyond 2^50", "size-overflow", put(*BLOB, "uncompressed", to=2**52)),
    Vector("size-listed-more", "a size one byte larger than the member", "member-size", put(*FILE, "size", to=20)),
    Vector("size-listed-huge", "a program with a listed size of 2^50", "member-size", put("files", 6, "size", to=2**50)),
    Vector("list-absolute", "a listed path from the root", "path-absolute", at_path("/etc/passwd")),
    Vector("list-drive", "a listed path with a drive", "path-absolute", at_path("C:\\x")),
    Vector("list-climbing", "a listed path that climbs", "path-climbing", at_path("docs/../../x")),
    Vector("list-climbing-backslash", "the same with backslashes", "path-climbing", at_path("docs\\..\\x")),
    Vector("list-dot", "a listed path with a dot", "path-spelling", at_path("docs/./x")),
    Vector("list-double-slash", "a listed path with two slashes", "path-spelling", at_path("docs//x")),
    Vector("list-empty", "a listed path of nothing", "path-spelling", at_path("")),
    Vector("list-accent", "a listed path with an accent", "path-spelling", at_path("docs/\u00e9")),
    Vector("list-newline", "a listed path with a newline", "path-spelling", at_path("docs/x\n")),
    Vector("list-escape", "a listed path with a terminal escape", "path-spelling", at_path("docs/\x1b[2Jx")),
    Vector("list-long", "a listed path of 101 bytes", "path-spelling", at_path("docs/" + "x" * 96)),
    Vector("list-compose-climbing", "a template outside its folder", "path-climbing", put("deploy", "compose", to="../docs/guide.md")),
    Vector("role-other-folder", "a doc in the folder of tools", "release-role", at_path("tools/changes.md")),
    Vector("role-blob", "a file among the blobs", "release-role", at_path(f"blobs/sha256/{HEX}")),
    Vector("role-release", "a file called release.json", "release-role", at_path("release.json")),
    Vector("role-signature", "a file among the signatures", "release-role", at_path("signatures/x.sigstore.json")),
    Vector("role-packing", "a file called packing.json", "release-role", at_path("packing.json")),
    Vector("role-unknown", "a role that nobody knows", "release-invalid", put(*FILE, "role", to="script")),
    Vector("role-layout-gone", "images without oci-layout", "release-role", value(lambda d: d["files"].remove(next(f for f in d["files"] if f["path"] == "oci-layout")))),
    Vector("mode-listed-setuid", "a listed set-uid program", "release-invalid", put(*FILE, "mode", to="4755")),
    Vector("mode-listed-number", "a listed mode that is a number", "release-invalid", put(*FILE, "mode", to=644)),
    Vector("files-unsorted", "files in another order", "release-order", reversed_("files")),
    Vector("files-repeated", "a file listed twice", "release-repeated", doubled("files")),
    Vector("files-twins", "paths that differ only in case", "name-twin", value(twin)),
    Vector("images-unsorted", "images in another order", "release-order", value(unsorted_images)),
    Vector("images-repeated", "an image listed twice", "release-repeated", doubled("images")),
    Vector("blobs-repeated", "a blob listed twice in one image", "release-repeated", doubled(*IMAGE, "blobs")),
    Vector("manifest-as-blob", "the manifest among the blobs too", "release-repeated", value(lambda d: d["images"][0]["blobs"].append(d["images"][0]["manifests"][0]))),
    Vector("manifest-elsewhere-blob", "one digest is a manifest here and a blob there", "release-manifest", value(blob_and_manifest)),
    Vector("manifest-two-types", "one digest as manifest and as index", "release-manifest", second_image(lambda i: i["manifests"][0].update(media_type="application/vnd.oci.image.index.v1+json"))),
    Vector("manifest-type", "a manifest that is a layer by its type", "release-manifest", put(*IMAGE, "manifests", 0, "media_type", to=CONFIG_TYPE)),
    Vector("manifest-not-last", "another digest than the last manifest's is deployed", "release-manifest", put(*IMAGE, "digest", to=f"sha256:{HEX}")),
    Vector("manifest-none", "an image without manifests", "release-invalid", put(*IMAGE, "manifests", to=[])),
    Vector("file-two-sizes", "two files with one digest and two sizes", "release-size", value(two_sizes)),
    Vector("file-and-folder", "a file whose path is another's folder", "name-twin", value(file_and_folder)),
    Vector("file-and-folder-twins", "a file whose path is another's folder but for the case", "name-twin", value(file_and_folder_in_capitals)),
    Vector("blob-two-sizes", "one blob with two sizes", "release-size", second_image(lambda i: i["blobs"][0].update(size=1))),
    Vector("media-type-escape", "a media type with a terminal escape", "release-invalid", put(*BLOB, "media_type", to="a/\x1b[31m")),
    Vector("image-reference-climbing", "an image reference that climbs", "release-reference", put(*IMAGE, "reference", to="p/../../q:1")),
    Vector("image-reference-empty-part", "an image reference with an empty part", "release-reference", put(*IMAGE, "reference", to="p//q:1")),
    Vector("image-reference-option", "an image reference that would be an option", "release-invalid", put(*IMAGE, "reference", to="--privileged")),
    Vector("ref-image", "a service of an image that is not here", "release-reference", put(*WEB, "image", to="nowhere")),
    Vector("ref-need", "a service that needs another that is not here", "release-reference", put(*WEB, "needs", to=["nowhere"])),
    Vector("ref-entry", "an entry point to nobody", "release-reference", put("entry_points", "web", "service", to="nowhere")),
    Vector("ref-entry-shared", "an entry point to a stateful service", "release-reference", value(shared_entry)),
    Vector("ref-smoke", "a smoke test of an entry point that is not here", "release-reference", put("smoke", 0, "entry", to="nowhere")),
    Vector("ref-smoke-tcp", "a smoke test of TCP", "release-reference", put("smoke", 0, "entry", to="relay")),
    Vector("ref-edge", "a front door of an image that is not here", "release-reference", put("edge", "haproxy", to="nowhere")),
    Vector("ref-template", "a compose template that is not here", "release-reference", put("deploy", "compose", to="p/none.j2")),
    Vector("product-slash", "a product that is a path", "release-invalid", put("product", to="p/../../q")),
    Vector("product-dots", "a product that climbs", "release-invalid", put("product", to="..")),
    Vector("product-upper-case", "a product in capitals", "release-invalid", put("product", to="P")),
    Vector("product-empty", "a product without name", "release-invalid", put("product", to="")),
    Vector("product-long", "a product of 41 letters", "release-invalid", put("product", to="p" * 41)),
    Vector("product-newline", "a product with a newline", "release-invalid", put("product", to="p\n")),
    Vector("product-look-alike", "a Cyrillic letter", "release-invalid", put("product", to="\u0440")),
    Vector("product-escape", "a terminal escape", "release-invalid", put("product", to="p\x1b]0;owned\x07")),
    Vector("product-other", "a release of another product", "wrong-product", put("product", to="q")),
    Vector("version-v", "v1.0.0", "release-invalid", put("version", to="v1.0.0")),
    Vector("version-two-parts", "1.0", "release-invalid", put("version", to="1.0")),
    Vector("version-build", "build metadata", "release-invalid", put("version", to="1.0.0+1")),
    Vector("version-zero", "a leading zero", "release-invalid", put("version", to="01.0.0")),
    Vector("version-newline", "a newline", "release-invalid", put("version", to="1.0.0\n")),
    Vector("version-digits", "a digit of another script, which is the same number", "release-invalid", put("version", to="1\u0662.0.0")),
    Vector("version-path", "a version that is a path", "release-invalid", put("version", to="1.0.0-../../x")),
    Vector("version-long", "a version of 65 characters", "release-invalid", put("version", to="1.0.0-" + "a" * 59)),
    Vector("channel-empty", "no channel", "release-invalid", put("channel", to="")),
    Vector("platform-other", "a platform nobody supports", "release-invalid", put("platform", to="windows/amd64")),
    Vector("created-month", "the 13th month", "release-invalid", put("created", to="2026-13-01T00:00:00Z")),
    Vector("created-zone", "a time zone", "release-invalid", put("created", to="2026-01-01T00:00:00+01:00")),
    Vector("created-digits", "digits of another script", "release-invalid", put("created", to="\u0662026-01-01T00:00:00Z")),
    Vector("root-version-zero", "root version 0", "release-invalid", put("minimum_root_version", to=0)),
    Vector("range-digits", "a range in digits of another script", "release-invalid", put("requires", "installer", to=">=\u0661")),
    Vector("range-caret", "a range of another dialect", "release-invalid", put("requires", "upgrade_from", to="^1.0")),
    Vector("strategy-other", "a strategy nobody knows", "release-invalid", put("strategy", to="yolo")),
    Vector("replicas-none", "no replica", "release-invalid", put(*WEB, "replicas", to=0)),
    Vector("replicas-many", "33 replicas", "release-invalid", put(*WEB, "replicas", to=33)),
    Vector("health-port-zeros", "a port with a zero in front", "release-invalid", put(*WEB, "health", "http", to=":080/")),
    Vector("health-tcp-zeros", "such a port without a path", "release-invalid", put(*WEB, "health", to={"http": None, "tcp": ":00080"})),
    Vector("range-zeros", "a range with a zero in front", "release-invalid", put("requires", "installer", to=">=01.2")),
    Vector("range-zeros-behind", "such a zero further on", "release-invalid", put("requires", "installer", to=">=1.02,<2")),
    Vector("good-range-zero", "a zero that is a number", None, put("requires", "upgrade_from", to=">=0.0.0,<10.0")),
    Vector("need-itself", "a service that needs itself", "release-repeated", put(*WEB, "needs", to=["web"])),
    Vector("need-twice", "a need twice", "release-repeated", put(*WEB, "needs", to=["store", "store"])),
    Vector("default-other-type", "a number as the default of a text", "release-invalid", put("inputs", "mail.host", "default", to=7)),
    Vector("default-true-number", "true as the default of a number", "release-invalid", put("inputs", "mail.host", to={"type": "integer", "default": True, "since": None, "description": ""})),
    Vector("default-of-list", "a text as the default of a list", "release-invalid", put("inputs", "mail.host", to={"type": "list", "default": "a", "since": None, "description": ""})),
    Vector("default-long", "a default of 2001 characters", "release-invalid", put("inputs", "mail.host", "default", to="x" * 2001)),
    Vector("good-default-long", "a default of 2000 characters", None, put("inputs", "mail.host", "default", to="x" * 2000)),
    Vector("good-default-boolean", "false as the default of a boolean", None, put("inputs", "mail.host", to={"type": "boolean", "default": False, "since": None, "description": ""})),
    Vector("text-hangul-filler", "a letter that shows nothing", "release-text", put("inputs", "mail.host", "description", to="a\u3164b")),
    Vector("text-braille-blank", "a sign of Braille without a dot", "release-text", put("inputs", "mail.host", "description", to="a\u2800b")),
    Vector("health-both", "two kinds of health", "release-invalid", put(*WEB, "health", "tcp", to=":80")),
    Vector("health-none", "no kind of health", "release-invalid", put(*WEB, "health", "http", to=None)),
    Vector("health-port", "port 99999", "release-invalid", put(*WEB, "health", "http", to=":99999/")),
    Vector("health-space", "a blank that would begin another header", "release-invalid", put(*WEB, "health", "http", to=":80/ HTTP/1.1")),
    Vector("health-line", "a line end that would begin another request", "release-invalid", put(*WEB, "health", "http", to=":80/\r\nHost: x")),
    Vector("port-zero", "port 0", "release-invalid", put("entry_points", "web", "port", to=0)),
    Vector("port-large", "port 65536", "release-invalid", put("entry_points", "web", "port", to=65536)),
    Vector("smoke-status", "status 99", "release-invalid", put("smoke", 0, "expect", to=99)),
    Vector("service-name", "a service whose name is a path", "release-invalid", value(lambda d: d["services"].update({"../x": d["services"]["store"]}))),
    Vector("input-name", "an input that reaches into templates", "release-invalid", value(lambda d: d["inputs"].update({"__class__": d["inputs"]["mail.host"]}))),
    Vector("text-escape", "a terminal escape in a description", "release-text", put("inputs", "mail.host", "description", to="\x1b[2Jx")),
    Vector("text-c1", "a one-byte escape", "release-text", put("inputs", "mail.host", "description", to="\x9b2Jx")),
    Vector("text-turned", "a mark that turns the text round", "release-text", put("inputs", "mail.host", "description", to="\u202egnp.exe")),
    Vector("text-hidden", "a letter of no width", "release-text", put("inputs", "mail.host", "description", to="a\u200bb")),
    Vector("text-separator", "a line separator", "release-text", put("inputs", "mail.host", "description", to="a\u2028b")),
]
# fmt: on
# fmt: off
PACKING = [
    Vector("packing-empty", "a packing of no bytes", "json-invalid", packing(b"")),
    Vector("packing-garbage", "a packing that is no JSON", "json-not-utf8", packing(b"\xff\xfe" * 20)),
    Vector("packing-spaced", "a packing with blanks", "json-not-canonical", packing(b'{"kind": "full", "type": "application/vnd.sealift.packing.v1+json"}\n')),
    Vector("packing-key-twice", "a packing with a key twice", "json-duplicate-key", packing(b'{"kind":"full","kind":"full","type":"application/vnd.sealift.packing.v1+json"}\n')),
    Vector("packing-deep", "a packing of 30,000 levels", "json-depth", packing(b"[" * 30000 + b"]" * 30000)),
    Vector("packing-float", "a packing with a fraction", "json-number", packing(b'{"kind":1.5,"type":"application/vnd.sealift.packing.v1+json"}\n')),
    Vector("packing-null", "a packing that is null", "packing-type", packing(b"null\n")),
    Vector("packing-type-gone", "a packing without type", "packing-type", packing(b'{"kind":"full"}\n')),
    Vector("packing-type-2", "a full packing under the type of deltas", "packing-invalid", _packing(type="application/vnd.sealift.packing.v2+json")),
    Vector("packing-type-release", "a release passed off as a packing", "packing-type", _packing(type="application/vnd.sealift.release.v1+json")),
    Vector("packing-delta", "a delta under the type of the first format", "packing-invalid", _packing(kind="delta")),
    Vector("packing-kind-gone", "a packing without its kind", "packing-invalid", packing(canonical({"type": Packing().type}))),
    Vector("packing-kind-number", "a kind that is a number", "packing-invalid", _packing(kind=1)),
    Vector("packing-offsets", "a packing that claims offsets", "packing-unknown-field", _packing(offsets={"CHANGELOG.md": 0})),
    Vector("packing-sizes", "a packing that claims sizes", "packing-unknown-field", _packing(sizes={"CHANGELOG.md": 2**50})),
    Vector("packing-patches", "a packing that claims patches", "packing-unknown-field", _packing(patches=[{"from": "sha256:" + HEX, "to": "sha256:" + HEX}])),
    Vector("packing-skip", "a packing that wants files left out", "packing-unknown-field", _packing(absent=["CHANGELOG.md"])),
]
# fmt: on

VECTORS = [*SPELLING, *CONTENT, *PACKING]
