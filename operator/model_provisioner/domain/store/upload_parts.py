"""The parts that a file was uploaded in, each with its SHA-256: what a server knows that has no SHA-256 of the file.

`transfer.sources.s3` learns them, a plan carries them (`plan`), and `transfer.download.hashing` compares them with the
bytes. They are no digest of the file: that is computed.
"""

import hashlib
from dataclasses import dataclass

MAX_UPLOAD_PARTS = 10_000
"""The most parts of an upload (docs.aws.amazon.com/AmazonS3, "Amazon S3 multipart upload limits")."""
DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class UploadParts:
    """`sizes` are in bytes, in the order of the file. `digests` has the SHA-256 of each part, 32 bytes a part."""

    sizes: tuple[int, ...]
    digests: bytes

    @property
    def key(self) -> str:
        """Equal for parts of the same sizes and digests."""
        return hashlib.sha256(f"{self.sizes}".encode() + self.digests).hexdigest()[:40]

    def digest(self, index: int) -> bytes:
        return self.digests[index * DIGEST_BYTES : (index + 1) * DIGEST_BYTES]

    def make_up(self, size: int, composite: bytes) -> bool:
        """Whether they are all parts of a file of `size` bytes whose COMPOSITE SHA-256 is `composite`.

        That is the SHA-256 of the digests of all parts in order (docs.aws.amazon.com/AmazonS3, "Checking object
        integrity").
        """
        if len(self.digests) != DIGEST_BYTES * len(self.sizes) or min(self.sizes, default=0) < 1:
            return False
        return sum(self.sizes) == size and hashlib.sha256(self.digests).digest() == composite
