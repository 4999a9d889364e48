"""Wrong answers of ModelScope, and of what answers in its place."""

import hashlib
import zlib
from dataclasses import replace

from aiohttp import web

from model_provisioner.domain.credentials.credentials import Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
)
from tests.adversarial.sources.world import (
    CANARY,
    ENDLESS,
    METADATA_ADDRESS,
    MIB,
    MODEL,
    OTHER,
    PAGE,
    Answer,
    Kind,
    Row,
    Table,
    document,
    later,
    meanwhile,
    ranged,
    to,
)

COMMIT = "c" * 40
FILE = {"Path": "m.Q4_K_M.gguf", "Type": "blob", "Size": len(MODEL), "Sha256": hashlib.sha256(MODEL).hexdigest()}
ANOTHER_SHAPE = "no answer of ModelScope"


def said(data: object, code: object = 200, status: int = 200) -> Answer:
    told = document({"Code": code, "Data": data, "Success": code == 200})
    return Answer(status, told.headers, told.body)


def listed(*files: object) -> Answer:
    return said({"Files": files})


def question(request: web.Request) -> str:
    return {"commits": "commit", "files": "listing", "repo": "file", "refs": "git"}.get(
        request.path.rpartition("/")[2], ""
    )


def good(asked: str, request: web.Request) -> Answer:
    if asked == "file":
        return ranged(request)
    answers = {"commit": said({"Commit": [{"Id": COMMIT}]}), "listing": listed(FILE)}
    return answers.get(asked, Answer(404))


_MANY = listed(*[{"Path": f"@{number}.txt"} for number in range(3000)])
_SOME = listed(*[{"Path": f"@d{number}", "Type": "tree"} for number in range(5)])


def directories_without_end(request: web.Request) -> Answer:
    """3,000 entries in one go, so that each directory is asked for, and each has five more."""
    root = request.query.get("Root", "")
    found = _MANY if request.query["Recursive"] == "True" else _SOME
    prefix = f"{root}/".encode() if root else b""
    return replace(found, body=bytes(found.body).replace(b"@", prefix))


def file(**fields: object) -> Answer:
    return listed({**FILE, **fields})


MODELSCOPE = Kind(
    "modelscope",
    "modelscope:owner/model",
    lambda home: Credentials(CANARY, (home,)),
    question,
    good,
    endpoint=True,
)
BOMB = Answer(200, {"Content-Type": "application/json", "Content-Encoding": "deflate"}, zlib.compress(b" " * 64 * MIB))
MODELSCOPE_ROWS = [
    Row("a login page", "commit", PAGE, SourceUnavailable, ANOTHER_SHAPE),
    Row(
        "deep JSON",
        "commit",
        Answer(200, {"Content-Type": "application/json"}, b"{" * 30_000),
        SourceUnavailable,
        ANOTHER_SHAPE,
    ),
    Row("a commit that climbs", "commit", said({"Commit": [{"Id": "../" * 20}]}), SourceUnavailable, ANOTHER_SHAPE),
    Row("no such model", "commit", said(None, 10010205001, 404), SourceNotFound, "does not exist"),
    Row("no access", "commit", said(None, 10010200001, 404), AccessDenied, "gives no access"),
    Row("a limit", "commit", Answer(429), RateLimited, "limits how often"),
    Row("a commit of 100 MiB", "commit", ENDLESS, SourceUnavailable, "more than"),
    Row("a listing of 100 MiB", "listing", ENDLESS, UnsupportedSource, "more than 8 MiB"),
    Row("a bomb of deflate", "listing", BOMB, UnsupportedSource, "more than 8 MiB"),
    Row(
        "directories without an end",
        "listing",
        directories_without_end,
        UnsupportedSource,
        "more than 300 requests",
        requests=301,
    ),
    Row("too many files", "listing", listed(*[FILE] * 20_001), UnsupportedSource, "more than 20,000 files"),
    Row("a login page for the listing", "listing", PAGE, SourceUnavailable, ANOTHER_SHAPE),
    Row("a path that climbs", "listing", file(Path="../m.gguf"), UnsupportedSource, "can't be stored"),
    Row("a path that is absolute", "listing", file(Path="/etc/m.gguf"), UnsupportedSource, "can't be stored"),
    Row("a path of the store's own", "listing", file(Path=".provisioner/m.gguf"), UnsupportedSource, "can't be stored"),
    Row("the token in a path", "listing", file(Path=f"{CANARY}.gguf"), SourceUnavailable, "sent back a secret"),
    Row("a size below zero", "listing", file(Size=-1), SourceUnavailable, ANOTHER_SHAPE),
    Row("a digest that is masked", "listing", file(Sha256="*" * 64), AccessDenied, "gives no access"),
    Row("a digest that is none", "listing", file(Sha256="a" * 63), SourceUnavailable, ANOTHER_SHAPE),
    Row(
        "the digest of another file",
        "listing",
        file(Sha256=hashlib.sha256(OTHER).hexdigest()),
        DigestMismatch,
        "should be sha256:",
    ),
    Row(
        "another size than the file has",
        "listing",
        file(Size=len(MODEL) + 1),
        SourceUnavailable,
        "when asked for bytes=",
    ),
    Row("a page for the bytes", "file", meanwhile(PAGE), SourceUnavailable, "page|instead of the"),
    Row(
        "another range",
        "file",
        meanwhile(lambda request: ranged(request).saying(content_range=f"bytes 1-9/{len(MODEL)}")),
        SourceUnavailable,
        "when asked for bytes=",
    ),
    Row("no access to the bytes in the middle", "file", later(Answer(403)), AccessDenied, "403"),
    Row(
        "the bytes encoded as gzip",
        "file",
        meanwhile(lambda request: ranged(request).saying(content_encoding="gzip")),
        SourceUnavailable,
        "encoded as 'gzip'",
    ),
    Row(
        "the address of a cloud's metadata",
        "file",
        meanwhile(to(METADATA_ADDRESS)),
        AddressNotAllowed,
        "169.254.169.254",
    ),
    Row(
        "another host for the bytes",
        "file",
        meanwhile(to("{elsewhere}/x?sig=1")),
        SourceUnavailable,
        "refused a new address",
    ),
]
MODELSCOPE_TABLE: Table = (MODELSCOPE, MODELSCOPE_ROWS)
