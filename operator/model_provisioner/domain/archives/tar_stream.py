"""Reads an archive that comes in pieces, in order: the same walk, over bytes that come once.

Called by `transfer.download.content.archive_digest` and `unpacking`, which compare what the archive really has with
what the plan says, and by `transfer.sources.archives` for compressed archives. Contents are not kept.
"""

from dataclasses import dataclass

from model_provisioner.domain.archives.tar_walk import Walk, advance


@dataclass(frozen=True, slots=True)
class TarStream:
    """`walk` after all bytes so far; `_kept` are those from `_start` on that it still needs, at most some KiB."""

    walk: Walk
    _start: int = 0
    _kept: bytes = b""

    def fed(self, piece: bytes) -> "TarStream":
        """The stream after the next bytes. Raises BadArchive."""
        window = self._kept + piece
        end = self._start + len(window)
        walk = advance(self.walk, window, self._start)
        start = end if walk.ended else max(self._start, min(walk.position, end))
        return TarStream(walk, start, window[start - self._start :])

    def passed(self, size: int) -> "TarStream":
        """The stream after the next `size` bytes, which are of the content of the last entry."""
        return TarStream(self.walk, self._start + size)

    def has(self, offset: int, size: int) -> bool:
        """Whether a GGUF file of `size` bytes is at `offset`, by the headers so far."""
        return any((one.offset, one.size) == (offset, size) for one in self.walk.members)
