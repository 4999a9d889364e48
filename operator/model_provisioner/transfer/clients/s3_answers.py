"""Reads what a server that speaks S3 answers in XML: the pages of a listing, and errors. All of it is untrusted.

Called by `s3_client`. Entities and document types are refused, so that no short body becomes a long one; depth, text
and entries are bounded. Source: docs.aws.amazon.com/AmazonS3/latest/API, ListObjectsV2 and "Error responses".
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote

from model_provisioner.domain.refusals.s3_errors import S3Answer
from model_provisioner.transfer.clients.bodies import Malformed
from model_provisioner.transfer.clients.file_facts import MAX_SIZE

MAX_KEY_BYTES = 1024
"""S3's own limit of a key."""
_MAX_DEPTH = 8
_MAX_TEXT = 4 * MAX_KEY_BYTES  # a key is at most three times as long when it is percent-encoded
_MAX_ENTRIES = 1000
_NO_XML = "what is no XML"
Texts = dict[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    """The `sizes` (bytes) of the objects, by key. `following` is the token of the next page, None on the last."""

    sizes: dict[str, int]
    following: str | None


def parse_page(body: bytes, prefix: str) -> Page:
    """A page of the keys that begin with `prefix`. Raises Malformed."""
    reader = _read(body, "ListBucketResult")
    decode = _unquoted if reader.top.get("EncodingType") == "url" else str
    sizes = dict(_entry(entry, decode, prefix) for entry in reader.entries)
    more = reader.top.get("IsTruncated", "false").strip().lower() == "true"
    following = reader.top.get("NextContinuationToken", "")
    if more and not following:
        raise Malformed("a page that is not the last and names no next one")
    return Page(sizes, following if more else None)


def parse_error(status: int, headers: Mapping[str, str], body: bytes) -> S3Answer:
    """What the error `body` tells. A body of another shape tells nothing."""
    try:
        top = _read(body, "Error").top
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
    if not (size.isascii() and size.isdigit() and len(size) <= 20) or int(size) > MAX_SIZE:
        raise Malformed("an object without a size, or with one that no object has")
    return key, int(size)


@dataclass
class _Reader:
    """The texts of the elements below the root `root`, and those of each `Contents`."""

    root: str
    top: Texts = field(default_factory=dict)
    entries: list[Texts] = field(default_factory=list)
    _path: list[str] = field(default_factory=list)
    _text: list[str] = field(default_factory=list)
    _length: int = 0

    def start(self, tag: str, _: object) -> None:
        name = tag.rpartition(":")[2]
        if len(self._path) >= _MAX_DEPTH or (not self._path and name != self.root):
            raise Malformed("XML of another shape")
        self._path.append(name)
        self._text, self._length = [], 0
        if self._path[1:] == ["Contents"]:
            if len(self.entries) >= _MAX_ENTRIES:
                raise Malformed(f"more than {_MAX_ENTRIES:,} entries in a page")
            self.entries.append({})

    def end(self, _: str) -> None:
        match self._path:
            case [_, name]:
                self.top[name] = "".join(self._text)
            case [_, "Contents", name]:
                self.entries[-1][name] = "".join(self._text)
            case _:
                pass
        self._path.pop()
        self._text, self._length = [], 0

    def text(self, text: str) -> None:
        self._length += len(text)
        if self._length > _MAX_TEXT:
            raise Malformed("a text that is too long")
        self._text.append(text)


def _read(body: bytes, root: str) -> _Reader:
    from xml.parsers import expat  # noqa: PLC0415 - a worker that moves bytes would load it

    def refuse(*_: object) -> None:
        raise Malformed("XML with a document type")

    reader = _Reader(root)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = reader.start, reader.end
    parser.CharacterDataHandler = reader.text
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(body, True)
    except (expat.ExpatError, LookupError, ValueError):  # no XML, or an encoding that is not known
        raise Malformed(_NO_XML) from None
    return reader
