"""The JSON documents below `.provisioner`: the store's id, journals, holder records and confirmations.

Each has a version. Only this module encodes and decodes them; it reads no file. A document that is damaged, foreign, of
a later version or with more than a store can have decodes to None, and the caller decides what that means.
"""

from typing import Annotated, Literal

import msgspec

from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.quantity import MAX_INT64
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.holders import HeldFile, HolderRecord
from model_provisioner.domain.store.journal import MAX_SPANS, Journal

LAYOUT = 1

MAX_SMALL_BYTES = 4 * 1024
"""Of the store's document and of a confirmation."""

MAX_JOURNAL_BYTES = 256 * 1024
"""`MAX_SPANS` spans of a file of any size take less."""

MAX_HOLDER_BYTES = 4 * 1024 * 1024

_Count = Annotated[int, msgspec.Meta(ge=0, le=2**31)]
_Bytes = Annotated[int, msgspec.Meta(ge=0, le=MAX_INT64)]
_Nanoseconds = Annotated[int, msgspec.Meta(ge=-(2**63), le=MAX_INT64)]
_Seconds = Annotated[int, msgspec.Meta(ge=0, le=2**40)]
_Span = Annotated[list[_Bytes], msgspec.Meta(min_length=2, max_length=2)]


class StoreDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`layout` is the version of the directory tree; this version works only on its own `LAYOUT`."""

    layout: int
    id: str


class _JournalDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    source: str
    size: _Bytes
    digest: str | None
    epoch: _Count
    restarts: _Count
    spans: Annotated[list[_Span], msgspec.Meta(max_length=MAX_SPANS)]
    endpoint: str | msgspec.UnsetType = msgspec.UNSET


class _FileDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    path: str
    size: _Bytes
    digest: str | None
    adopted: bool
    mtime_ns: _Nanoseconds | None
    replaced_ns: _Nanoseconds | None = None
    endpoint: str | msgspec.UnsetType = msgspec.UNSET
    upload_key: str | msgspec.UnsetType = msgspec.UNSET


class _HolderDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    uid: str
    namespace: str
    name: str
    revision: str | None
    files: list[_FileDocument]
    part_keys: list[str]
    released: bool


class _ConfirmationDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    version: Literal[1] = 1
    claim: str
    at: _Seconds


def encode_store(document: StoreDocument) -> bytes:
    return msgspec.json.encode(document)


def decode_store(data: bytes) -> StoreDocument | None:
    """None if `data` is not the document of a store; the layout is not checked."""
    try:
        return msgspec.json.decode(data, type=StoreDocument)
    except ValueError:  # msgspec's DecodeError is one, and that of bytes that are not UTF-8
        return None


def encode_journal(journal: Journal) -> bytes:
    return msgspec.json.encode(
        _JournalDocument(
            source=journal.source,
            size=journal.size,
            digest=_encode_digest(journal.digest),
            epoch=journal.epoch,
            restarts=journal.restarts,
            spans=[list(pair) for pair in journal.spans.pairs],
            endpoint=journal.endpoint or msgspec.UNSET,
        )
    )


def decode_journal(data: bytes) -> Journal | None:
    """None if `data` is not a valid journal of this version."""
    try:
        read = msgspec.json.decode(data, type=_JournalDocument)
        spans = Spans.from_pairs(read.spans)
        digest = _decode_digest(read.digest)
        return Journal(read.source, read.size, digest, read.epoch, read.restarts, spans, read.endpoint or None)
    except ValueError:  # msgspec's DecodeError is one
        return None


def encode_holder(record: HolderRecord) -> bytes:
    files = [
        _FileDocument(
            path=f.path,
            size=f.size,
            digest=_encode_digest(f.digest),
            adopted=f.adopted,
            mtime_ns=f.mtime_ns,
            replaced_ns=f.replaced_ns,
            endpoint=f.endpoint or msgspec.UNSET,
            upload_key=f.upload_key or msgspec.UNSET,
        )
        for f in record.files
    ]
    return msgspec.json.encode(
        _HolderDocument(
            uid=record.uid,
            namespace=record.namespace,
            name=record.name,
            revision=record.revision,
            files=files,
            part_keys=list(record.part_keys),
            released=record.released,
        )
    )


def decode_holder(data: bytes) -> HolderRecord | None:
    """None if `data` is not a valid holder record of this version."""
    try:
        read = msgspec.json.decode(data, type=_HolderDocument)
        files = tuple(map(_held, read.files))
    except ValueError:
        return None
    return HolderRecord(read.uid, read.namespace, read.name, read.revision, files, tuple(read.part_keys), read.released)


def _held(f: _FileDocument) -> HeldFile:
    digest, endpoint, upload_key = _decode_digest(f.digest), f.endpoint or None, f.upload_key or None
    return HeldFile(f.path, f.size, digest, f.adopted, f.mtime_ns, f.replaced_ns, endpoint, upload_key)


def encode_confirmation(claim: str, at: int) -> bytes:
    """`claim` is `namespace/name`, `at` is in seconds since the epoch."""
    return msgspec.json.encode(_ConfirmationDocument(claim=claim, at=at))


def decode_confirmation(data: bytes) -> tuple[str, int] | None:
    """Claim and time; None if `data` is not a valid confirmation of this version."""
    try:
        read = msgspec.json.decode(data, type=_ConfirmationDocument)
    except ValueError:
        return None
    return read.claim, read.at


def _encode_digest(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _decode_digest(text: str | None) -> Digest | None:
    return None if text is None else Digest.parse(text)
