"""Gzip that comes in pieces: what it holds, where it ends, and that many small files of gzip cost what they have."""

import gzip
import time

import pytest

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.transfer.clients.registries.inflater import Inflater

CONTENT = bytes(range(256)) * 1024
EMPTY = gzip.compress(b"")


def unpacked(packed: bytes, fed: int, most: int) -> tuple[bytes, bool]:
    """What `packed` holds, fed in pieces of `fed` bytes, and whether it has ended."""
    inflater, found = Inflater(), bytearray()
    for start in range(0, len(packed), fed):
        inflater.feed(packed[start : start + fed])
        while piece := inflater.take(most):
            assert len(piece) <= most
            found += piece
    return bytes(found), inflater.at_end


@pytest.mark.parametrize("fed", [7, 16 * 1024, 10**6])
@pytest.mark.parametrize("most", [100, 10**6])
def test_pieces_of_any_size_give_the_same_bytes(fed: int, most: int) -> None:
    packed = EMPTY * 2000 + gzip.compress(CONTENT, 0) + EMPTY + gzip.compress(CONTENT)
    assert unpacked(packed, fed, most) == (CONTENT * 2, True)
    assert unpacked(packed[:-1], fed, most) == (CONTENT * 2, False)


def test_what_is_no_gzip_is_named() -> None:
    with pytest.raises(BadArchive, match="damaged, or no gzip"):
        unpacked(EMPTY * 1000 + b"no gzip at all", 10**6, 100)


def seconds_for(count: int) -> float:
    """CPU time for `count` files of gzip without content, fed at one time: the least of three runs."""
    packed, found = EMPTY * count, []
    for _ in range(3):
        inflater, begun = Inflater(), time.process_time()
        inflater.feed(packed)
        assert inflater.take(100) == b""
        found.append(time.process_time() - begun)
    return min(found)


def test_many_empty_files_take_time_in_proportion_to_their_number() -> None:
    assert seconds_for(160_000) < 40 * seconds_for(10_000), "16 times as many; 256 times in square proportion"
