"""Wrong answers of S3 servers."""

import base64
import hashlib
import zlib

from aiohttp import web

from model_provisioner.domain.credentials.credentials import AwsKeys, Credentials
from model_provisioner.domain.errors import (
    AccessDenied,
    AddressNotAllowed,
    DigestMismatch,
    NotGGUF,
    RateLimited,
    SourceNotFound,
    SourceUnavailable,
    UnsupportedSource,
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

XML = {"Content-Type": "application/xml"}
PREFIX = "s3://bkt/p/"


def question(request: web.Request) -> str:
    if request.path.strip("/") == "bkt":
        return "listing" if "list-type" in request.query else "bucket"
    return "object"


def good(asked: str, request: web.Request) -> Answer:
    if asked == "bucket":
        return Answer(200, {"x-amz-bucket-region": "eu-west-3"})
    return page() if asked == "listing" else ranged(request)


def page(key: str = "p/m.gguf", more: str = "", head: str = "", size: object = len(MODEL)) -> Answer:
    """A listing of one key; `more` is the token of the next page."""
    entry = f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>"
    following = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{more}</NextContinuationToken>" if more else ""
    coding = "<EncodingType>url</EncodingType>"
    return Answer(200, XML, f"{head}<ListBucketResult>{coding}{following}{entry}</ListBucketResult>".encode())


def always_another_page(request: web.Request) -> Answer:
    return page(more=f"after {request.query.get('continuation-token', '')[-9:]}x"[:900])


def error(status: int, code: str, **headers: str) -> Answer:
    return Answer(status, XML, f"<Error><Code>{code}</Code></Error>".encode()).saying(**headers)


def refused(wrong: Answer) -> Behaviour:
    """The answer to HEAD has no body."""
    return lambda request: Answer(wrong.status, wrong.headers) if request.method == "HEAD" else wrong


def heads(**headers: str) -> Behaviour:
    """The right head of the object, with these headers."""
    return lambda request: ranged(request).saying(**headers if request.method == "HEAD" else {})


S3 = Kind(
    "s3",
    "s3://bkt/team/key.gguf",
    lambda home: Credentials(None, (home,), aws=AwsKeys("AKID", f"secret-{CANARY}", f"session-{CANARY}")),
    question,
    good,
    endpoint=True,
)
LAUGHS = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
EXTERNAL = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
BOMB = zlib.compress(b"<ListBucketResult>" + bytes(64 * MIB))
WRONG_SUM = base64.b64encode(hashlib.sha256(OTHER).digest()).decode()
S3_ROWS = [
    Row(
        "one page again and again", "listing", page(more="again"), SourceUnavailable, "pages without an end", ref=PREFIX
    ),
    Row("always another page", "listing", always_another_page, SourceUnavailable, "pages without an end", ref=PREFIX),
    Row(
        "a page of 100 MiB",
        "listing",
        Answer(200, XML, b" " * MIB, times=100),
        SourceUnavailable,
        "more than 4 MiB",
        ref=PREFIX,
    ),
    Row(
        "a bomb of deflate",
        "listing",
        Answer(200, {**XML, "Content-Encoding": "deflate"}, BOMB),
        SourceUnavailable,
        "more than 4 MiB",
        ref=PREFIX,
    ),
    Row("entities that grow", "listing", page("&b;", head=LAUGHS), SourceUnavailable, "document type", ref=PREFIX),
    Row("an external entity", "listing", page("&a;", head=EXTERNAL), SourceUnavailable, "document type", ref=PREFIX),
    Row(
        "deep elements",
        "listing",
        Answer(200, XML, b"<ListBucketResult>" + b"<a>" * 100_000),
        SourceUnavailable,
        "another shape",
        ref=PREFIX,
    ),
    Row("a login page", "listing", PAGE, SourceUnavailable, "no answer of an S3 server", ref=PREFIX),
    Row(
        "an error with the status of success",
        "listing",
        error(200, "InternalError"),
        SourceUnavailable,
        "another shape",
        ref=PREFIX,
    ),
    Row(
        "a key that climbs",
        "listing",
        page("p/../../m.gguf"),
        UnsupportedSource,
        "can't be stored|'..' part",
        ref=PREFIX,
    ),
    Row("a key of the store's own", "listing", page("p/.provisioner/m.gguf"), UnsupportedSource, "store", ref=PREFIX),
    Row("a key with a line break", "listing", page("p/a%0Am.gguf"), UnsupportedSource, "control character", ref=PREFIX),
    Row("a size below zero", "listing", page(size=-1), SourceUnavailable, "without a size", ref=PREFIX),
    Row(
        "a key of another prefix",
        "listing",
        page("q/m.gguf"),
        SourceUnavailable,
        "does not begin with the prefix",
        ref=PREFIX,
    ),
    Row("no such key", "object", refused(error(404, "NoSuchKey")), SourceNotFound, "check the key"),
    Row("no such bucket", "object", refused(error(404, "NoSuchBucket")), SourceNotFound, "has no bucket bkt"),
    Row("no right to read", "object", refused(error(403, "AccessDenied")), AccessDenied, "allow it s3:GetObject"),
    Row(
        "an unknown key", "object", refused(error(403, "InvalidAccessKeyId")), AccessDenied, "correct AWS_ACCESS_KEY_ID"
    ),
    Row(
        "a wrong signature",
        "object",
        refused(error(403, "SignatureDoesNotMatch")),
        AccessDenied,
        "AWS_SECRET_ACCESS_KEY is not that of",
    ),
    Row(
        "a session that is over",
        "object",
        refused(error(400, "ExpiredToken")),
        AccessDenied,
        "the session of the access key is over",
    ),
    Row(
        "a clock that differs",
        "object",
        refused(error(403, "RequestTimeTooSkewed")),
        SourceUnavailable,
        "set the clock",
    ),
    Row(
        "an address that is over",
        "object",
        refused(error(403, "ExpiredRequest")),
        SourceUnavailable,
        "check the clocks",
    ),
    Row(
        "another region",
        "object",
        refused(error(301, "PermanentRedirect", x_amz_bucket_region="us-west-1")),
        SourceNotFound,
        "the region us-west-1",
    ),
    Row(
        "a region that is a host",
        "object",
        refused(error(301, "PermanentRedirect", x_amz_bucket_region="evil.example/")),
        SourceNotFound,
        "another region",
    ),
    Row(
        "too many requests", "object", refused(error(503, "SlowDown", retry_after="7")), RateLimited, "limits how often"
    ),
    Row("an archived object", "object", heads(x_amz_storage_class="GLACIER"), UnsupportedSource, "is archived"),
    Row("no content", "object", heads(content_length="0"), NotGGUF, "is empty"),
    Row("a size that no object has", "object", heads(content_length=str(10**18)), SourceUnavailable, "a size of"),
    Row(
        "another size than the object has",
        "object",
        heads(content_length=str(len(MODEL) + 1)),
        SourceUnavailable,
        "when asked for bytes=",
    ),
    Row(
        "the checksum of another object",
        "object",
        heads(x_amz_checksum_sha256=WRONG_SUM),
        DigestMismatch,
        "should be sha256:",
    ),
    Row(
        "another version in the middle",
        "object",
        later(lambda request: ranged(request, OTHER, '"v2"')),
        SourceUnavailable,
        "has changed at its source",
    ),
    Row(
        "a session that ends in the middle",
        "object",
        later(error(403, "AccessDenied")),
        AccessDenied,
        "its session may be over",
    ),
    Row(
        "an error page for the bytes",
        "object",
        meanwhile(error(200, "InternalError")),
        SourceUnavailable,
        "instead of the",
    ),
    Row(
        "another range",
        "object",
        meanwhile(lambda request: ranged(request).saying(content_range=f"bytes 1-9/{len(MODEL)}")),
        SourceUnavailable,
        "when asked for bytes=",
    ),
    Row(
        "the object encoded as gzip",
        "object",
        meanwhile(lambda request: ranged(request).saying(content_encoding="gzip")),
        SourceUnavailable,
        "encoded as 'gzip'",
    ),
    Row(
        "the address of a cloud's metadata",
        "object",
        meanwhile(to(METADATA_ADDRESS)),
        AddressNotAllowed,
        "169.254.169.254",
    ),
    Row(
        "another host for the bytes",
        "object",
        meanwhile(to("{elsewhere}/x", 307)),
        SourceUnavailable,
        "refused a new address",
    ),
]
S3_TABLE: Table = (S3, S3_ROWS)
