"""Reads from the headers of an answer to a request for one byte what a file is. None of them is trusted to be right.

Called by the sources that know a file by its URL alone. Sources of the fields: RFC 9110 (Content-Range, ETag,
Last-Modified), RFC 9530 (Repr-Digest), Artifactory (X-Checksum-Sha256), S3 (x-amz-checksum-sha256, which is of the
whole object, or of the digests of its parts).
"""

import base64
import binascii
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.plan import Pin
from model_provisioner.transfer.clients.bodies import Malformed

MAX_SIZE = 2**46
"""The largest size of a file, 64 TiB, so that the sum over all files fits the 64 bits of the resource's field."""
_CONTENT_RANGE = re.compile(r"\s*bytes\s+0-0/(\d{1,20}|\*)\s*", re.IGNORECASE)
_DIGITS = re.compile(r"\d{1,20}", re.ASCII)
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e]{1,200}"')
_DATE = re.compile(r"[A-Za-z]{3}, \d{2} [A-Za-z]{3} \d{4} \d{2}:\d{2}:\d{2} GMT", re.ASCII)
_CHECKSUM = "x-amz-checksum-sha256"
_MULTIPART_TAG = re.compile(r'"[0-9a-f]{32}-[0-9]{1,5}"')
_SHA256_FIELD = re.compile(r"(?:^|,)\s*sha-256\s*=\s*:([A-Za-z0-9+/=]{43,44}):", re.IGNORECASE)

Headers = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """`size` is in bytes. `pin` binds requests to this version, `version` names it; None if nothing tells versions."""

    size: int
    digest: Digest | None
    pin: Pin | None

    @property
    def version(self) -> str | None:
        """The entity tag, or the time of the last change and the size."""
        if self.pin is None:
            return None
        return self.pin.value if self.pin.value.startswith('"') else f"{self.pin.value}, {self.size} bytes"


def read_facts(status: int, replies: Sequence[Headers]) -> FileFacts:
    """What `replies` say, which are the headers of the answers from the first one on; `status` is that of the last.

    A redirect may tell the digest; size and validator are those of the last answer. Raises Malformed, with a clause
    that has the server as its subject.
    """
    last = replies[-1]
    encoding = last.get("Content-Encoding", "identity").lower()
    if encoding != "identity":
        raise Malformed(f"sends it encoded as {encoding[:20]!a}")
    size = _size(status, last)
    if size > MAX_SIZE:
        raise Malformed(f"tells a size of {size} bytes")
    digests = (digest for headers in reversed(replies) if (digest := _digest(headers)))
    return FileFacts(size, next(digests, None), _pin(last))


def _size(status: int, headers: Headers) -> int:
    if status == 206:
        match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
        if match is None or match[1] == "*":
            raise Malformed("does not tell the size of the file")
        return int(match[1])
    length = headers.get("Content-Length", "").strip()
    if not _DIGITS.fullmatch(length) or headers.get("Transfer-Encoding"):
        raise Malformed("does not tell the size of the file")
    return int(length)


def _pin(headers: Headers) -> Pin | None:
    tag, date = headers.get("ETag", "").strip(), headers.get("Last-Modified", "").strip()
    value = tag if _STRONG_TAG.fullmatch(tag) else date if _DATE.fullmatch(date) else None
    return Pin("If-Range", value) if value else None


def _digest(headers: Headers) -> Digest | None:
    """The SHA-256 of the whole file; None if it is not told, or is no digest."""
    field = _SHA256_FIELD.search(headers.get("Repr-Digest", ""))
    encoded = field[1] if field else "" if is_composite(headers) else headers.get(_CHECKSUM, "").strip()
    if encoded:
        content = sha256_of(encoded)
        return Digest(content.hex()) if content else None
    try:
        return Digest.parse(headers.get("X-Checksum-Sha256", ""))
    except ValueError:
        return None


def is_composite(headers: Headers) -> bool:
    """Whether the SHA-256 that S3 states is one of the digests of all parts, and none of the file.

    A server that does not state the type leaves it to be seen: S3 has no other one for an upload in parts, whose entity
    tag ends in their number.
    """
    kind = headers.get("x-amz-checksum-type", "").strip().upper()
    if "-" in headers.get(_CHECKSUM, ""):
        return True
    return kind != "FULL_OBJECT" if kind else bool(_MULTIPART_TAG.fullmatch(headers.get("ETag", "").strip()))


def composite_of(headers: Headers) -> bytes | None:
    """The SHA-256 of the digests of all parts; None if it is not told."""
    return sha256_of(headers.get(_CHECKSUM, "").strip().partition("-")[0]) if is_composite(headers) else None


def sha256_of(encoded: str) -> bytes | None:
    """The 32 bytes of a SHA-256 in Base64; None if it is none."""
    try:
        content = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        return None
    return content if len(content) == hashlib.sha256().digest_size else None


def revision_of(versions: Sequence[str | None]) -> str | None:
    """The version of all files of a model: that of one file as it is, a hash of those of several. None: unknown."""
    if len(versions) == 1 or None in versions:
        return versions[0] if len(versions) == 1 else None
    return "sha256:" + hashlib.sha256("\n".join(map(str, versions)).encode()).hexdigest()
