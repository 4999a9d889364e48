"""Reads the body of an answer that describes something, within limits. Called by the sources that ask HTTP servers.

Some proxies compress a body although identity is asked for. What a body says is read by the sources.
"""

import zlib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TypeVar

import msgspec

from model_provisioner.domain.download.range_answer import AnswerHeader
from model_provisioner.domain.errors import SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.transfer.http.client import Reply

ONE_BYTE: Mapping[str, str] = MappingProxyType({"Range": "bytes=0-0"})
"""The header of a request whose answer tells what the file is, where HEAD can't be trusted."""
_GZIP_OR_ZLIB = 47  # zlib.h, inflateInit2: both formats, the largest window
_MOST_SHOWN = 160
T = TypeVar("T")


class Malformed(Exception):
    """An answer that does not have its shape. The text says in a few words what was sent instead."""


class TooLarge(Exception):
    """An answer of more than is read of it. The text says in a few words how much was sent."""


def no_answer_of(server: str, origin: Origin, sent: str, subject: object, check: str = "endpoint") -> SourceUnavailable:
    """The error for an answer that no `server` (a kind, with its article) gives. `check` is what may be wrong."""
    return SourceUnavailable(
        f"{origin} sent {sent} when asked for {subject}, which is no answer of {server}: check the {check}, and "
        "whether a proxy or a login page answers in its place"
    )


def answer_header(status: int, headers: Mapping[str, str]) -> AnswerHeader:
    """What decides which bytes the body of an answer to a range request has."""
    names = ("Content-Range", "Content-Length", "Transfer-Encoding", "Content-Type")
    return AnswerHeader(status, *(headers.get(name, "") for name in names))


def check_not_encoded(reply: Reply, subject: str) -> None:
    """Raises SourceUnavailable if the body is encoded, although the bytes of `subject` themselves were asked for."""
    encoding = reply.headers.get("Content-Encoding", "identity")
    if encoding != "identity":
        raise SourceUnavailable(f"{reply.origin} sends {subject} encoded as {encoding[:20]!a}: a proxy's doing?")


def decoded_json(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """The JSON in `body`. Raises Malformed. Memory is bounded by the caller, before it calls."""
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise Malformed(f"JSON of another shape ({str(error)[:_MOST_SHOWN]})") from None
    except (ValueError, RecursionError):  # no JSON, no UTF-8, or nested too deeply
        raise Malformed("what is no JSON") from None


async def read_body(reply: Reply, most: int, limit: int) -> bytes:
    """The whole body.

    Raises Malformed, and TooLarge for more than `most` bytes, as they are sent or after decompression; its message
    names `limit`, the bytes of all answers together.
    """
    encoding = reply.headers.get("Content-Encoding", "identity").lower()
    if encoding not in {"identity", "gzip", "x-gzip", "deflate"}:
        raise Malformed(f"content encoded as {encoding[:20]!a}")
    inflate = None if encoding == "identity" else zlib.decompressobj(_GZIP_OR_ZLIB)
    content, sent = bytearray(), 0
    async for chunk in reply.chunks():
        sent += len(chunk)
        try:
            content += inflate.decompress(chunk, most + 1 - len(content)) if inflate else chunk
        except zlib.error:
            raise Malformed(f"content that is not encoded as {encoding}") from None
        if max(sent, len(content)) > most:
            raise TooLarge(f"more than {limit // 1024**2} MiB")
        if inflate and inflate.eof and inflate.unused_data:
            raise Malformed(f"bytes after the end of what is encoded as {encoding}")
    return bytes(content)
