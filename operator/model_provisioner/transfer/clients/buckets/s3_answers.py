"""Reads what a server that speaks S3 answers in XML: the pages of a listing, the parts of an upload, and errors.

Called by `s3_client`. All of it is untrusted; the XML itself is read in `xml_answers`.
Source: docs.aws.amazon.com/AmazonS3/latest/API, ListObjectsV2, GetObjectAttributes and "Error responses".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

from model_provisioner.domain.refusals.s3_errors import S3Answer
from model_provisioner.transfer.clients.bodies import Malformed
from model_provisioner.transfer.clients.buckets.xml_answers import read_xml
from model_provisioner.transfer.clients.file_facts import MAX_SIZE, sha256_of

MAX_KEY_BYTES = 1024
"""S3's own limit of a key."""
_LISTING = frozenset({"ListBucketResult"})
_ERROR = frozenset({"Error"})
_ATTRIBUTES = frozenset({"GetObjectAttributesResponse", "GetObjectAttributesOutput"})
"""The documentation has the second name for the shape of the first."""
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
Texts = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """The `sizes` (bytes) of the objects, by key. `following` is the token of the next page, None on the last."""

    sizes: dict[str, int]
    following: str | None


@dataclass(frozen=True, slots=True)
class PartsPage:
    """Of each part, in the order of the answer, its number, its size in bytes and its SHA-256.

    `following` is the marker of the next page.
    """

    parts: tuple[tuple[int, int, bytes], ...]
    following: str | None


def parse_page(body: bytes, prefix: str) -> Page:
    """A page of the keys that begin with `prefix`. Raises Malformed."""
    page = read_xml(body, _LISTING, "Contents")
    decode = _unquoted if page.texts.get("EncodingType") == "url" else str
    sizes = dict(_entry(entry, decode, prefix) for entry in page.entries)
    more = _is_true(page.texts.get("IsTruncated", ""))
    following = page.texts.get("NextContinuationToken", "")
    if more and not following:
        raise Malformed("a page that is not the last and names no next one")
    return Page(sizes, following if more else None)


def parse_parts(body: bytes) -> PartsPage:
    """A page of the parts that an object was uploaded in. Raises Malformed if one has no SHA-256.

    Servers that do not keep them leave them out; then there is no part, and no page after it.
    """
    page = read_xml(body, _ATTRIBUTES, "ObjectParts/Part")
    more = _is_true(page.texts.get("ObjectParts/IsTruncated", ""))
    following = page.texts.get("ObjectParts/NextPartNumberMarker", "").strip()
    if more and not (_NUMBER.fullmatch(following) and page.entries):
        raise Malformed("a page of parts that is not the last and names no next one")
    return PartsPage(tuple(map(_part, page.entries)), following if more else None)


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> S3Answer:
    """What the error `body` tells. A body of another shape tells nothing."""
    try:
        top = read_xml(body, _ERROR).texts
    except Malformed:
        return S3Answer(status, headers)
    return S3Answer(status, headers, top.get("Code", "").strip(), top.get("Region", "").strip())


def _unquoted(text: str) -> str:
    """A key that is no UTF-8 gets characters that no path may have, so that it is refused if it is chosen."""
    return unquote(text, errors="surrogateescape")


def _entry(entry: Texts, decode: Callable[[str], str], prefix: str) -> tuple[str, int]:
    key, size = decode(entry.get("Key", "")), entry.get("Size", "").strip()
    if not key or len(key.encode("utf-8", "surrogatepass")) > MAX_KEY_BYTES:
        raise Malformed(f"a key that is empty or has more than {MAX_KEY_BYTES} bytes")
    if not key.startswith(prefix):
        raise Malformed("a key that does not begin with the prefix")
    if not _NUMBER.fullmatch(size) or int(size) > MAX_SIZE:
        raise Malformed("an object without a size, or with one that no object has")
    return key, int(size)


def _part(entry: Texts) -> tuple[int, int, bytes]:
    number, size = entry.get("PartNumber", "").strip(), entry.get("Size", "").strip()
    digest = sha256_of(entry.get("ChecksumSHA256", "").strip())
    if not (_NUMBER.fullmatch(number) and _NUMBER.fullmatch(size)) or digest is None or int(size) > MAX_SIZE:
        raise Malformed("a part without a number, a size or a SHA-256, or with a size that no part has")
    return int(number), int(size), digest


def _is_true(text: str) -> bool:
    return text.strip().lower() == "true"
