"""Wrong answers of web servers."""

import gzip
import hashlib

from aiohttp import web

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    NotGGUF,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
)
from tests.adversarial.sources.world import (
    CANARY,
    METADATA_ADDRESS,
    MIB,
    MODEL,
    OTHER,
    PAGE,
    Answer,
    Behaviour,
    Kind,
    Row,
    Table,
    later,
    meanwhile,
    ranged,
    to,
)

WEB = Kind(
    "https",
    "{home}/team/model.gguf",
    lambda home: Credentials(CANARY, (home,), headers={"X-Key": f"key-{CANARY}"}),
    lambda _: "file",
    lambda _, request: ranged(request),
)
ARCHIVE = b"PK\x03\x04" + MODEL[4:]
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n"


def saying(**headers: str) -> Behaviour:
    """The right answer with wrong headers, in which {start}, {last} and {size} are the right numbers."""

    def answer(request: web.Request) -> Answer:
        right = ranged(request)
        extent = right.headers.get("Content-Range", "bytes 0-0/0").removeprefix("bytes ")
        start, last, size = extent.replace("-", "/").split("/")
        return right.saying(**{name: text.format(start=start, last=last, size=size) for name, text in headers.items()})

    return answer


def another_version(request: web.Request) -> Answer:
    return ranged(request, OTHER, '"v2"')


BOMB = gzip.compress(bytes(64 * MIB))
WEB_ROWS = [
    Row("a login page", "file", PAGE, NotGGUF, "a web page .*most likely to log in"),
    Row("a login page of another host", "file", to("{elsewhere}/login"), NotGGUF, "to log in", PAGE),
    Row(
        "another host that wants a login",
        "file",
        to("{elsewhere}/x"),
        AccessDenied,
        "the credential was not sent",
        Answer(401, {"WWW-Authenticate": "Basic realm=x"}),
    ),
    Row("the address of a cloud's metadata", "file", to(METADATA_ADDRESS), AddressNotAllowed, "169.254.169.254"),
    Row("a private address", "file", to("http://10.1.2.3/model.gguf", 307), AddressNotAllowed, "10.1.2.3"),
    Row("a file of this machine", "file", to("file:///etc/passwd"), AddressNotAllowed, "file"),
    Row(
        "a private address in the middle",
        "file",
        later(to("http://10.1.2.3/model.gguf")),
        AddressNotAllowed,
        "10.1.2.3",
    ),
    Row("a redirect to itself", "file", to("/team/model.gguf"), SourceUnavailable, "again and again"),
    Row(
        "a login that is never accepted",
        "file",
        Answer(401, {"WWW-Authenticate": "Bearer"}),
        AccessDenied,
        "with the credential that was sent .401",
    ),
    Row(
        "a login that ends in the middle",
        "file",
        later(Answer(401)),
        AccessDenied,
        "with the credential that was sent .401",
    ),
    Row("a page in the middle", "file", later(PAGE), SourceUnavailable, "page|instead of"),
    Row(
        "an error page with the status of success",
        "file",
        meanwhile(Answer(206, {}, b"<Error/>")),
        SourceUnavailable,
        "Content-Range|label",
    ),
    Row("gone", "file", Answer(410), SourceNotFound, "is not there .*410"),
    Row("a limit", "file", Answer(429, {"Retry-After": "7"}), RateLimited, "limits how often"),
    Row(
        "a range of another file",
        "file",
        meanwhile(saying(content_range=f"bytes {{start}}-{{last}}/{len(MODEL) + 1}")),
        SourceUnavailable,
        "answered .* when asked for bytes=",
    ),
    Row(
        "another range",
        "file",
        meanwhile(saying(content_range="bytes 1-{last}/{size}")),
        SourceUnavailable,
        "when asked for bytes=",
    ),
    Row(
        "several ranges",
        "file",
        meanwhile(saying(content_range="", content_type="multipart/byteranges; boundary=x")),
        SourceUnavailable,
        "answered with several parts",
    ),
    Row(
        "another version in the middle", "file", later(another_version), SourceUnavailable, "has changed at its source"
    ),
    Row(
        "the file encoded as gzip",
        "file",
        meanwhile(saying(content_encoding="gzip")),
        SourceUnavailable,
        "encoded as 'gzip'",
    ),
    Row(
        "a bomb of gzip",
        "file",
        Answer(200, {"Content-Encoding": "gzip"}, BOMB),
        SourceUnavailable,
        "encoded as 'gzip'",
    ),
    Row(
        "a body without an end",
        "file",
        Answer(200, {}, bytes(MIB), times=1000),
        SourceUnavailable,
        "does not tell the size",
    ),
    Row(
        "a header without an end",
        "file",
        Answer(200, {f"X-{number}": "y" * 1000 for number in range(400)}),
        SourceUnavailable,
        "broke|header",
    ),
    Row(
        "a size that no file has",
        "file",
        Answer(206, {"Content-Range": f"bytes 0-0/{10**19}"}, b"G"),
        SourceUnavailable,
        "a size of",
    ),
    Row("no content", "file", Answer(416, {"Content-Range": "bytes */0"}), NotGGUF, "is empty"),
    Row(
        "the digest of another file",
        "file",
        saying(x_checksum_sha256=hashlib.sha256(OTHER).hexdigest()),
        DigestMismatch,
        "should be sha256:",
    ),
    Row("a pointer to a large file", "file", lambda request: ranged(request, POINTER), NotGGUF, "model.gguf"),
    Row("an archive", "file", lambda request: ranged(request, ARCHIVE), NotGGUF, "model.gguf"),
    Row(
        "fewer bytes than it says",
        "file",
        saying(content_range=f"bytes {{start}}-{{last}}/{len(MODEL) + 9}"),
        SourceUnavailable,
        "when asked for bytes=",
    ),
]
WEB_TABLE: Table = (WEB, WEB_ROWS)
