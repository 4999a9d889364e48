"""Unpacks gzip (RFC 1952) piece by piece, never more than is asked for.

Called by `transfer.sources.archives` and `transfer.download.content.unpacking`, which bound how much that is in all. A
file of gzip may be several of them in a row.
"""

import zlib

from model_provisioner.domain.archives.bad_archive import BadArchive

_GZIP = 31  # zlib.h, inflateInit2: gzip only, the largest window
_SLICE_BYTES = 16 * 1024
"""How much zlib gets at one time: at the end of each file of gzip, which may have 20 bytes, it copies what follows."""


class Inflater:
    """`feed` takes bytes as they are sent, `take` gives what they are."""

    def __init__(self) -> None:
        self._inflating = zlib.decompressobj(_GZIP)
        self._fed = memoryview(b"")
        self._packed = b""
        self.at_end = False
        """Whether all bytes so far are complete files of gzip."""

    def feed(self, packed: bytes) -> None:
        """To be called when `take` has nothing more to give."""
        self._fed = memoryview(packed)

    def take(self, most: int) -> bytes:
        """The next bytes, at most `most`; b"" if more must be fed first. Raises BadArchive."""
        while True:
            if not self._packed:
                self._packed, self._fed = bytes(self._fed[:_SLICE_BYTES]), self._fed[_SLICE_BYTES:]
            self.at_end = self.at_end and not self._packed
            try:
                unpacked = self._inflating.decompress(self._packed, most)
            except zlib.error:
                raise BadArchive("is damaged, or no gzip") from None
            self._packed = self._inflating.unconsumed_tail
            if self._inflating.eof:
                self._packed, self._inflating = self._inflating.unused_data, zlib.decompressobj(_GZIP)
                self.at_end = not (self._packed or self._fed)
            if unpacked or not (self._packed or self._fed):
                return unpacked
