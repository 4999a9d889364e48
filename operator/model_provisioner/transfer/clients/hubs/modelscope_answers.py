"""Reads the answers of ModelScope: documents and git refs, none of which is trusted to have its shape.

Called by `modelscope_client`, which sends the requests. Every function here is total: any bytes are a value, `Refused`,
`Malformed` or `TooLarge`. What to do about a listing that is cut off is decided in `modelscope`.
Source of the fields: modelscope_hub 0.5.1, _legacy_api.py (`_list_files_page`), and modelscope 1.30,
utils/repo_utils.py (`CommitHistoryResponse`); of the refs: git, gitprotocol-http(5) and gitprotocol-common(5).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from model_provisioner.transfer.clients.bodies import Malformed, TooLarge
from model_provisioner.transfer.clients.hubs.hub_answers import (
    Name,
    RemoteFile,
    Size,
    Text,
    bounded,
    decoded,
    read_commit,
    remote_file,
)

MOST_LISTED = 3000
"""The hub cuts a listing off at so many entries, without a word (modelscope_hub, constants.py)."""
_REF = re.compile(rb"[0-9a-f]{4}([0-9a-f]{40,64}) refs/(?:heads|tags)/([\x21-\x7e]{1,1000}?)(\^\{\})?[\0\n]")


class Refused(Exception):
    """An answer that is a refusal although its status is 200."""

    def __init__(self, code: int | None) -> None:
        super().__init__(str(code))
        self.code = code


@dataclass(frozen=True, slots=True)
class Listing:
    """One answer of `/repo/files`. `directories` are paths.

    `is_cut_off`: there may be more entries than were sent, none of which is kept, because the directory is walked.
    """

    files: tuple[RemoteFile, ...]
    directories: tuple[str, ...]
    is_cut_off: bool


class _Envelope(msgspec.Struct):
    code: int | str | None = msgspec.field(default=None, name="Code")
    success: bool | None = msgspec.field(default=None, name="Success")


class _Entry(msgspec.Struct):
    path: Name = msgspec.field(name="Path")
    type: Text | None = msgspec.field(default=None, name="Type")
    size: Size | None = msgspec.field(default=None, name="Size")
    sha256: Text | None = msgspec.field(default=None, name="Sha256")


class _Files(msgspec.Struct):
    files: list[_Entry] | None = msgspec.field(name="Files")


class _Tree(_Envelope):
    data: _Files | None = msgspec.field(default=None, name="Data")


class _Commit(msgspec.Struct):
    id: Text = msgspec.field(name="Id")


class _Commits(msgspec.Struct):
    commits: list[_Commit] | None = msgspec.field(name="Commit")


class _History(_Envelope):
    data: _Commits | None = msgspec.field(default=None, name="Data")


T = TypeVar("T", bound=_Envelope)
_ENVELOPE = msgspec.json.Decoder(_Envelope)
_TREE = msgspec.json.Decoder(_Tree)
_HISTORY = msgspec.json.Decoder(_History)


def parse_listing(body: bytes, root: str) -> Listing:
    """The entries below the directory `root` ("" for all). Raises Malformed for one that is elsewhere."""
    data = _accepted(body, _TREE).data
    if data is None:
        raise Malformed("a listing without `Data.Files`")
    entries = bounded(data.files or [])
    prefix = f"{root}/" if root else ""
    if not all(entry.path.startswith(prefix) and entry.path != prefix for entry in entries):
        raise Malformed(f"names that are not in the directory {root[:40]!a}")
    if len(entries) >= MOST_LISTED:
        return Listing((), (), is_cut_off=True)
    files = [remote_file(one.path, one.size, one.sha256) for one in entries if one.type in {"blob", None}]
    directories = [entry.path for entry in entries if entry.type == "tree"]
    return Listing(tuple(files), tuple(directories), is_cut_off=False)


def parse_commit(body: bytes) -> str | None:
    """The newest commit of `/commits`; None if there is none."""
    data = _accepted(body, _HISTORY).data
    if data is None:
        raise Malformed("a history without `Data.Commit`")
    return read_commit(data.commits[0].id) if data.commits else None


def parse_code(body: bytes) -> int | None:
    """The `Code` of an error; None if the answer has none."""
    try:
        return _number(decoded(_ENVELOPE, body).code)
    except (Malformed, TooLarge):
        return None


def parse_refs(body: bytes) -> Mapping[str, str]:
    """The commit of each branch and tag; of a tag with a message, that of the commit which it names."""
    if b"git-upload-pack" not in body[:100]:
        raise Malformed("what are no refs of git")
    found: dict[str, str] = {}
    for commit, name, _peeled in _REF.findall(body):
        found[name.decode()] = commit.decode()  # the peeled one follows the tag itself
    return found


def _accepted(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """The answer in `body`. Raises Refused, before anything else in it is looked at."""
    envelope = decoded(_ENVELOPE, body)
    if envelope.success is False:
        raise Refused(_number(envelope.code))
    return decoded(decoder, body)


def _number(code: int | str | None) -> int | None:
    if isinstance(code, str):
        return int(code) if code.isascii() and code.isdigit() and len(code) <= 20 else None
    return code
