"""Reads the answers of a Hugging Face hub: documents, headers and links, none of which is trusted to have its shape.

Called by `hub_client`, which sends the requests; `modelscope_answers` reads its fields with the same functions. Every
function here is total: any bytes are a value, `Malformed` or `TooLarge`. A field that an answer leaves out is None,
because mirrors leave fields out; a field of another type is an error. Which file is wanted, and what to do about a
field that is missing, is decided in `huggingface`.
Source of the fields: huggingface_hub 2.4, hf_api.py (`ModelInfo`, `RepoSibling`, `RepoFile`) and file_download.py
(`get_hf_file_metadata`).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, TypeVar
from urllib.parse import quote, urlsplit

import msgspec

from model_provisioner.domain.model_files.file_names import MAX_NAME_BYTES, is_short
from model_provisioner.domain.store.digest import Digest
from model_provisioner.transfer.clients.bodies import Malformed, TooLarge, decoded_json

MAX_FILES = 20_000
"""The most files of a listing. Repositories of models have some hundred; a listing costs memory for each of them."""
_MAX_OBJECTS = 2 * MAX_FILES + 10_000
"""The most JSON objects of an answer: two for each file, and what else describes a model."""
MAX_SIZE = 2**46
"""The largest size of a file, 64 TiB, so that the sum over all files fits the 64 bits of the resource's field."""
_MAX_TEXT = 256
_MASK = re.compile(r"\*+")
_COMMIT = re.compile(r"[0-9a-f]{40,64}")
_DIGITS = re.compile(r"[0-9]{1,20}")
_CONTENT_RANGE = re.compile(r"bytes [0-9]{1,20}-[0-9]{1,20}/([0-9]{1,20})")
_LINK = re.compile(r"<([^<>]*)>([^<>]*)")
_REL = re.compile(r";\s*rel\s*=\s*(?:\"([^\"]*)\"|([^\s;,\"]+))", re.IGNORECASE)
_TOO_MANY = f"more than {MAX_FILES:,} files"
_IN_QUERY = "%=&+/:;,?@!$'()*~"

Size = Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)]
Name = Annotated[str, msgspec.Meta(max_length=MAX_NAME_BYTES)]
Text = Annotated[str, msgspec.Meta(max_length=_MAX_TEXT)]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository; `size` is in bytes. None: the answer does not tell.

    `masked`: the hub hides the digest, as it does from callers who may list a gated repository but not read it.
    """

    path: str
    size: int | None
    digest: Digest | None
    masked: bool = False


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A repository at one commit. `repository` is its canonical name, `files` None if the answer lists none."""

    repository: str | None
    commit: str | None
    gated: bool
    files: tuple[RemoteFile, ...] | None


@dataclass(frozen=True, slots=True)
class FileHeaders:
    """What the headers of `/resolve/` say of one file."""

    size: int | None
    digest: Digest | None
    commit: str | None


class _LFS(msgspec.Struct):
    size: Size | None = None
    sha256: Text | None = None
    oid: Text | None = None


class _Sibling(msgspec.Struct):
    rfilename: Name
    size: Size | None = None
    lfs: _LFS | None = None


class _ModelInfo(msgspec.Struct):
    id: str | None = None
    sha: Text | None = None
    gated: bool | Text | None = None
    siblings: list[_Sibling] | None = None


class _Entry(msgspec.Struct):
    path: Name
    type: Text = "file"
    size: Size | None = None
    lfs: _LFS | None = None


_MODEL_INFO = msgspec.json.Decoder(_ModelInfo)
_TREE = msgspec.json.Decoder(list[_Entry])


def parse_model_info(body: bytes) -> ModelInfo:
    """The answer of `/api/models/<repository>`. The digest's key is `lfs.sha256` here and `lfs.oid` in a tree."""
    found = decoded(_MODEL_INFO, body)
    siblings = None if found.siblings is None else bounded(found.siblings)
    files = (
        None if siblings is None else tuple(remote_file(one.rfilename, one.size, _sha256(one.lfs)) for one in siblings)
    )
    return ModelInfo(found.id, None if found.sha is None else read_commit(found.sha), bool(found.gated), files)


def parse_tree(body: bytes) -> tuple[RemoteFile, ...]:
    """The files of one page of `/api/models/<repository>/tree/<commit>`."""
    entries = bounded(decoded(_TREE, body))
    return tuple(remote_file(one.path, one.size, _sha256(one.lfs)) for one in entries if one.type == "file")


def next_query(link: str) -> str | None:
    """The query of the page that `link`, the header of a page, names as the next; None if this is the last.

    Only the query is used, and applied to the address that was asked: the host in it may be another one, to which no
    token may go, and mirrors pass on links to the hub that they mirror.
    """
    for target, parameters in _LINK.findall(link):
        relations = " ".join(quoted or plain for quoted, plain in _REL.findall(parameters))
        if "next" in relations.lower().split():
            return _query(target)
    return None


def parse_file_headers(replies: Sequence[tuple[int, Mapping[str, str]]]) -> FileHeaders:
    """The headers of all `replies` (status and headers) of `/resolve/`, the redirects first.

    A redirect describes the file in `X-Linked-Size` and `X-Linked-ETag`; its Content-Length and ETag are its own. The
    ETag of a content host is no SHA-256 of the file, even if it looks like one.
    """
    size = _first(replies, "X-Linked-Size", _size)
    return FileHeaders(
        size=_size_of_body(*replies[-1]) if size is None else size,
        digest=_first(replies, "X-Linked-ETag", _etag_digest),
        commit=_first(replies, "X-Repo-Commit", read_commit),
    )


def decoded(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The JSON in `body`. Raises Malformed, and TooLarge before memory is used for more objects than are read."""
    if not body.strip():
        raise Malformed("an empty body")
    if body.count(b"{") > _MAX_OBJECTS:
        raise TooLarge(_TOO_MANY)
    return decoded_json(decoder, body)


def bounded(entries: list[T]) -> list[T]:
    """`entries`, if they are no more than are read. Raises TooLarge."""
    if len(entries) > MAX_FILES:
        raise TooLarge(_TOO_MANY)
    return entries


def remote_file(path: str, size: int | None, text: str | None) -> RemoteFile:
    """A file whose SHA-256 an answer writes as `text`. Raises Malformed."""
    if not is_short(path):
        raise Malformed(f"a name of more than {MAX_NAME_BYTES} bytes")
    masked = bool(text and _MASK.fullmatch(text))
    return RemoteFile(path, size, read_digest(text) if text and not masked else None, masked)


def _sha256(lfs: _LFS | None) -> str | None:
    return (lfs.sha256 or lfs.oid) if lfs else None


def read_digest(text: str) -> Digest:
    """Raises Malformed."""
    try:
        return Digest.parse(text)
    except ValueError:
        raise Malformed(f"{_shown(text)} as a SHA-256") from None


def read_commit(text: str) -> str:
    """`text` if it is a whole commit. Raises Malformed."""
    if not _COMMIT.fullmatch(text):
        raise Malformed(f"{_shown(text)} as a commit")
    return text


def _size(text: str) -> int:
    if not _DIGITS.fullmatch(text) or int(text) > MAX_SIZE:
        raise Malformed(f"{_shown(text)} as a size")
    return int(text)


def _size_of_body(status: int, headers: Mapping[str, str]) -> int | None:
    if status == 206:
        extent = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        return _size(extent[1]) if extent else None
    if status == 200 and "Content-Encoding" not in headers and "Content-Length" in headers:
        return _size(headers["Content-Length"])
    return None


def _etag_digest(tag: str) -> Digest | None:
    """None for a tag that is no SHA-256: that of a small file is the SHA-1 of a git blob."""
    try:
        return Digest.parse(tag.removeprefix("W/").strip('"'))
    except ValueError:
        return None


def _first(replies: Sequence[tuple[int, Mapping[str, str]]], name: str, parse: Callable[[str], T]) -> T | None:
    return next((parse(headers[name]) for _, headers in replies if name in headers), None)


def _query(target: str) -> str:
    try:
        return quote(urlsplit(target).query.encode("latin-1", "replace"), safe=_IN_QUERY)
    except ValueError:
        raise Malformed("a malformed address of the next page") from None


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")
