"""The result of resolving a ref: which bytes to fetch, to which paths, and what they must hash to.

A source in `transfer.sources` makes a plan, the store sets the final paths (`domain.store.holders.settle`), and
`transfer.download.engine` carries it out. A plan holds no credentials and no signed URL: `url` can be requested again
at any time.
"""

import hashlib
from dataclasses import dataclass
from typing import Literal

from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_facts import FileRecord
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.upload_parts import UploadParts


@dataclass(frozen=True, slots=True)
class Pin:
    """A header of every range request that binds it to one version of the file (RFC 9110, 13.1).

    `If-Range` has the whole file sent if it has changed, `If-Match` an error 412. `value` is a strong entity tag, or
    for If-Range the time of the last change as the server wrote it.
    """

    header: Literal["If-Range", "If-Match"]
    value: str


@dataclass(frozen=True, slots=True)
class Archive:
    """What the source sends, with the file as it is from `offset` on. `size` in bytes and `digest` are of all of it.

    `compressed`: it is sent as gzip, which `size` and `digest` are of, and `offset` is in what that holds.
    """

    digest: Digest
    size: int
    offset: int
    compressed: bool = False


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file of a plan; `size` is in bytes.

    `source` identifies the remote file independently of the commit, so a part survives a commit that does not change
    the file: `hf:owner/repo:path` on the operator's own hub, `hf:owner/repo:path at URL` on another. `endpoint` is the
    normalised URL of the hub. `digest` is the expected digest: the user's, else the one that the source publishes; None
    if neither is known, then it is computed. `digest_published`: the source publishes it. `signed`: the address of the
    bytes is a secret or expires, so that there is no `url`, and the source is asked for it (`transfer.sources`).
    `pin` makes every request fail if the source has another version of the file by now. `upload_parts` are those that
    its bytes are compared with if the source publishes no digest of the file. `url` and `endpoint` are None
    for a file that is already in the store (`local:`). `role` decides what its header must be. It is no part of the
    identity of the file: two objects may want one file in two roles. `archive` is what has the file in it; its digest
    is verified too, and that of the file is not published.
    """

    path: str
    size: int
    digest: Digest | None
    source: str
    url: str | None
    endpoint: str | None = None
    digest_published: bool = False
    signed: bool = False
    pin: Pin | None = None
    upload_parts: UploadParts | None = None
    role: FileRole = FileRole.MODEL
    archive: Archive | None = None

    @property
    def sent_digest(self) -> Digest | None:
        """The digest of what the source sends: of the archive, if there is one."""
        return self.archive.digest if self.archive else self.digest

    @property
    def upload_key(self) -> str | None:
        """Names the upload parts that the bytes are compared with; None if there are none."""
        return self.upload_parts.key if self.upload_parts else None

    @property
    def is_local(self) -> bool:
        """Whether the file is only in the store, and can't be fetched from anywhere."""
        return self.url is None and not self.signed

    def accepts_bytes_of(self, endpoint: str | None) -> bool:
        """Whether bytes that came from the hub `endpoint` may be used for this file, if all else agrees.

        `endpoint` None is an unknown hub: earlier versions did not record it. Equal digests are then not enough if one
        was computed from those bytes and the other was given by the user: only this file's own hub can say what it
        serves.
        """
        return endpoint == self.endpoint or self.digest_published

    @property
    def part_key(self) -> str:
        """The name of the unfinished file. A file with another size or digest cannot continue this part.

        The key includes the final path because transfers are separate per path: the same bytes at two revisions are two
        transfers, and two writers must never write one part. Without a digest, it includes the version of the file, so
        that bytes of two versions are never mixed. The upload parts are left out, so that an object that may not learn
        them shares the transfer: a published file is compared with them before it is used
        (`holders.attested_digest`), and a part is hashed from its first byte on.
        """
        version = [self.pin.value] if self.pin and self.digest is None else []
        version += [str(self.archive)] if self.archive else []
        identity = "\n".join([self.source, str(self.size), str(self.digest), self.path, *version])
        return hashlib.sha256(identity.encode()).hexdigest()[:40]


@dataclass(frozen=True, slots=True)
class Plan:
    """The files of one model, the parts of a split model in order; then its multimodal projector, if one is wanted.

    `revision` is the commit that `ref` resolved to, and `repository` the name that the source has for the repository,
    which may be spelled differently in `ref`. Both are None for `local:`.
    """

    ref: str
    revision: str | None
    files: tuple[PlannedFile, ...]
    repository: str | None = None

    @property
    def model_files(self) -> tuple[PlannedFile, ...]:
        """The files without the projector."""
        return tuple(file for file in self.files if file.role is not FileRole.PROJECTOR)

    @property
    def projector(self) -> PlannedFile | None:
        return next((file for file in self.files if file.role is FileRole.PROJECTOR), None)

    @property
    def records(self) -> tuple[FileRecord, ...]:
        """The files as the status records them before they are fetched."""
        return tuple(FileRecord(file.path, file.size, str(file.digest) if file.digest else None) for file in self.files)

    @property
    def total_bytes(self) -> int:
        return sum(file.size for file in self.files)
