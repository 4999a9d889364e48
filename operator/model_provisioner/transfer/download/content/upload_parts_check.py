"""Compares the bytes of a file, which come in order, with the digests of the parts that it was uploaded in.

Called by `file_download`, and by `engine` for a published file, for objects of buckets that have a digest for each part
only.
"""

import hashlib

from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.upload_parts import UploadParts


class UploadPartsCheck:
    """`parts` are those of the whole file."""

    def __init__(self, parts: UploadParts) -> None:
        self._parts = parts
        self._sha = hashlib.sha256()
        self._index = 0
        self._start = 0
        self._sizes = parts.sizes()
        self._size = self._missing = next(self._sizes)

    def update(self, chunk: bytes) -> None:
        """Raises DigestMismatch if a part ends in `chunk` and is wrong, or if bytes follow the last part."""
        rest = memoryview(chunk)
        while rest:
            if not self._missing:
                raise DigestMismatch("bytes follow the last part of the upload")
            self._sha.update(rest[: self._missing])
            taken = min(len(rest), self._missing)
            self._missing -= taken
            rest = rest[taken:]
            if not self._missing:
                self._end_part()

    def end(self) -> None:
        """Raises DigestMismatch if bytes of the last parts are missing."""
        if self._index < self._parts.count:
            raise DigestMismatch(f"the bytes end before part {self._index + 1} of the upload does")

    def _end_part(self) -> None:
        found, end = self._sha.digest(), self._start + self._size
        expected, number = self._parts.digest(self._index), self._index + 1
        if found != expected:
            raise DigestMismatch(
                f"part {number} of {self._parts.count} of the upload (bytes {self._start}-{end - 1}) should be "
                f"{Digest(expected.hex())} and is {Digest(found.hex())}: the object in the bucket is damaged, or what "
                "is between changes it: upload it again"
            )
        self._index, self._start, self._sha = self._index + 1, end, hashlib.sha256()
        self._size = self._missing = next(self._sizes, 0)
