"""The parts that a file was uploaded in, each with its SHA-256: what a server knows that has no SHA-256 of the file.

`transfer.sources.s3` learns them, a plan carries them (`plan`), and `transfer.download.content.hashing` compares them
with the bytes. They are no digest of the file: that is computed.
"""

import hashlib
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

MAX_UPLOAD_PARTS = 10_000
"""The most parts of an upload (docs.aws.amazon.com/AmazonS3, "Amazon S3 multipart upload limits")."""
DIGEST_BYTES = 32
_RUN = struct.Struct("<IQ")


@dataclass(frozen=True, slots=True)
class UploadParts:
    """`digests` has the SHA-256 of each part, in the order of the file. `runs` are the sizes, packed: see `of`.

    Each object that waits for its turn keeps them in memory: 32 bytes a part, because nearly all parts of an upload
    have one size, and 44 bytes if no two neighbours have.
    """

    runs: bytes
    digests: bytes

    @classmethod
    def of(cls, sizes: Sequence[int], digests: bytes) -> "UploadParts":
        """`sizes` are in bytes, each less than 2**64. Equal ones in a row become a run: count and size."""
        runs = ((sum(1 for _ in equal), size) for size, equal in groupby(sizes))
        return cls(b"".join(_RUN.pack(*run) for run in runs), digests)

    @property
    def count(self) -> int:
        return len(self.digests) // DIGEST_BYTES

    def sizes(self) -> Iterator[int]:
        """In bytes, in the order of the file."""
        for count, size in _RUN.iter_unpack(self.runs):
            for _ in range(count):
                yield size

    @property
    def key(self) -> str:
        """Equal for parts of the same sizes and digests."""
        return hashlib.sha256(f"{self.count} ".encode() + self.runs + self.digests).hexdigest()[:40]

    def digest(self, index: int) -> bytes:
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def make_up(self, size: int, composite: bytes) -> bool:
        """Whether they are all parts of a file of `size` bytes whose COMPOSITE SHA-256 is `composite`.

        That is the SHA-256 of the digests of all parts in order (docs.aws.amazon.com/AmazonS3, "Checking object
        integrity").
        """
        runs = tuple(_RUN.iter_unpack(self.runs))
        if len(self.digests) != DIGEST_BYTES * sum(count for count, _ in runs) or not all(one for _, one in runs):
            return False
        whole = sum(count * one for count, one in runs)
        return whole == size > 0 and hashlib.sha256(self.digests).digest() == composite
