"""Decides which bytes of a file the body of an answer to a range request has (RFC 9110, 14.4 and 15.3.7).

`transfer.download.requests.remote_file` calls this with the header of each answer. Proxies answer a range with the
whole file, or with a part that has no label. What nothing contradicts is accepted if a digest decides at the end.
Without a digest, only a labelled part is accepted, or the answer to a request for the whole file. What becomes of an
answer that is not accepted does not belong here.
"""

import re
from dataclasses import dataclass

from model_provisioner.domain.download.ranges import ByteRange

_CONTENT_RANGE = re.compile(r"\s*bytes\s+(\d{1,19})-(\d{1,19})/(\d{1,19}|\*)\s*", re.IGNORECASE)
_MAX_DIGITS = 19


@dataclass(frozen=True, slots=True)
class AnswerHeader:
    """The header fields of an answer 200 or 206; those that are missing are empty."""

    status: int
    content_range: str = ""
    content_length: str = ""
    transfer_encoding: str = ""
    content_type: str = ""

    @property
    def length(self) -> int | None:
        """The announced size of the body in bytes; a Transfer-Encoding overrides it (RFC 9112, 6.3)."""
        text = self.content_length.strip()
        told = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS and not self.transfer_encoding
        return int(text) if told else None

    @property
    def media_type(self) -> str:
        return self.content_type.partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """What is known of the file before it is fetched: its size in bytes, and whether its digest is known."""

    size: int
    digest_known: bool

    @property
    def whole(self) -> ByteRange:
        return ByteRange(0, self.size)


@dataclass(frozen=True, slots=True)
class Body:
    """The body has the bytes `range` of the file. `open_ended`: only its end shows how many bytes it has."""

    range: ByteRange
    open_ended: bool = False


@dataclass(frozen=True, slots=True)
class Unlabelled:
    """The body has either the requested part or the whole file. A request for the whole file gets a clear answer."""


@dataclass(frozen=True, slots=True)
class WrongAnswer:
    """The body is not what was requested; `problem` is a clause with the source as its subject."""

    problem: str


def judge(header: AnswerHeader, asked: ByteRange, file: RequestedFile) -> Body | Unlabelled | WrongAnswer:
    """What the body of the answer to a request for `asked` has."""
    if header.media_type == "multipart/byteranges":
        return WrongAnswer("answered with several parts when asked for one")
    if header.status == 206 and header.content_range:
        return _judge_labelled(header, asked, file)
    if header.length is None and header.media_type == "text/html":
        return WrongAnswer("answered with a page (text/html) instead of the file: does it ask to sign in?")
    if header.status == 206:
        return _judge_unlabelled(header, asked, file)
    if header.length in {None, file.size}:
        return Body(file.whole, open_ended=header.length is None)
    return WrongAnswer(
        f"answered with {header.length} bytes instead of the {file.size} bytes of the file: "
        "another file or a page, or a proxy interferes"
    )


def _judge_labelled(header: AnswerHeader, asked: ByteRange, file: RequestedFile) -> Body | WrongAnswer:
    match = _CONTENT_RANGE.fullmatch(header.content_range)
    if match is None or (int(match[1]), int(match[2]) + 1) != (asked.start, asked.stop):
        return _other_range(header, asked, file)
    if match[3] == "*":
        return Body(asked) if file.digest_known else _unknown_size()
    return Body(asked) if int(match[3]) == file.size else _other_range(header, asked, file)


def _other_range(header: AnswerHeader, asked: ByteRange, file: RequestedFile) -> WrongAnswer:
    return WrongAnswer(
        f"answered {header.content_range[:60]!r} when asked for {asked.header} of {file.size}: "
        "the file has changed there, or a proxy interferes"
    )


def _unknown_size() -> WrongAnswer:
    return WrongAnswer(
        "does not tell the size of the file that it sends a part of, and no digest is known to verify it"
    )


def _judge_unlabelled(header: AnswerHeader, asked: ByteRange, file: RequestedFile) -> Body | Unlabelled | WrongAnswer:
    """A 206 without Content-Range. Its length tells the part from the whole file; a digest proves the guess."""
    if header.length not in {None, asked.size, file.size}:
        return WrongAnswer(
            f"answered with {header.length} bytes, without Content-Range, when asked for {asked.header}: "
            "which bytes of the file these are is not known"
        )
    if asked == file.whole:
        return Body(asked, open_ended=header.length is None)
    if header.length == file.size:
        return Body(file.whole)
    if header.length == asked.size and file.digest_known:
        return Body(asked)
    return Unlabelled()
