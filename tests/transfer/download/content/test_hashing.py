"""PrefixHasher: the digest is right in whatever order bytes arrive, and bytes in order are not read back."""

import asyncio
import hashlib
import random
import threading
from itertools import accumulate

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model_provisioner.aio.threads import Threads
from model_provisioner.domain.download.spans import Spans
from model_provisioner.domain.errors import DigestMismatch
from model_provisioner.domain.store.digest import Digest
from model_provisioner.domain.store.upload_parts import UploadParts
from model_provisioner.transfer.download.content.hashing import PrefixHasher
from model_provisioner.transfer.download.content.upload_parts_check import UploadPartsCheck

PIECE = 1000
CONTENT = random.Random(0).randbytes(40 * PIECE)
DIGEST = Digest(hashlib.sha256(CONTENT).hexdigest())


class Part:
    """A file in memory that counts the bytes read back, and fails if bytes are read before they are written."""

    def __init__(self) -> None:
        self.spans = Spans()
        self.read_back = 0

    def read(self, offset: int, count: int) -> bytes:
        assert offset + count <= self.spans.prefix_end
        self.read_back += count
        return CONTENT[offset : offset + count]


async def digest(
    order: list[int], written: int = 0, *, claiming: bool = False, parts: UploadParts | None = None
) -> tuple[Digest, int]:
    """The digest, and the bytes read back: pieces arrive in `order` after the first `written` are in the file.

    With `claiming` the writer hashes each piece that it is allowed to.
    """
    part, threads = Part(), Threads()
    part.spans = part.spans.add(0, written * PIECE)
    also = UploadPartsCheck(parts).update if parts else None
    hasher = PrefixHasher(len(CONTENT), part.read, threads, lambda: None, also)
    running = asyncio.create_task(hasher.run())
    await hasher.offer(0, (), part.spans.prefix_end)
    for number in order:
        start, stop = number * PIECE, (number + 1) * PIECE
        claimed = claiming and hasher.claim(start, PIECE)
        if claimed:
            await threads.run(hasher.update, (CONTENT[start:stop],))
        part.spans = part.spans.add(start, stop)
        if claimed:
            await hasher.hashed(stop, part.spans.prefix_end)
        else:
            await hasher.offer(start, (CONTENT[start:stop],), part.spans.prefix_end)
    return await running, part.read_back


@pytest.mark.parametrize("claiming", [False, True])
async def test_bytes_in_order_are_never_read_back(claiming: bool) -> None:
    assert await digest(list(range(40)), claiming=claiming) == (DIGEST, 0)


async def test_a_claim_is_given_only_if_all_bytes_before_are_hashed_or_claimed() -> None:
    part, threads = Part(), Threads()
    hasher = PrefixHasher(len(CONTENT), part.read, threads, lambda: None)
    running = asyncio.create_task(hasher.run())
    assert not hasher.claim(PIECE, PIECE)
    assert hasher.claim(0, PIECE)
    assert hasher.claim(PIECE, PIECE)
    part.spans = part.spans.add(2 * PIECE, len(CONTENT))
    await hasher.offer(2 * PIECE, (CONTENT[2 * PIECE : 3 * PIECE],), 0)
    assert not hasher.claim(3 * PIECE, PIECE), "the bytes before are neither hashed nor claimed"
    await hasher.offer(3 * PIECE, (CONTENT[3 * PIECE :],), 0)
    for start in (0, PIECE):
        await asyncio.sleep(0.05)
        assert hasher.position == start, "what follows claimed bytes is hashed after them"
        hasher.update((CONTENT[start : start + PIECE],))
        part.spans = part.spans.add(start, start + PIECE)
        await hasher.hashed(start + PIECE, part.spans.prefix_end)
    assert (await running, part.read_back) == (DIGEST, 0)


async def test_what_was_there_is_read_back_once() -> None:
    found, read_back = await digest(list(range(25, 40)), written=25)
    assert found == DIGEST
    assert 25 * PIECE <= read_back <= 40 * PIECE


async def test_what_comes_while_the_beginning_is_read_back_is_hashed_after_it() -> None:
    reading, offered = threading.Event(), threading.Event()
    part, threads = Part(), Threads()
    part.spans = part.spans.add(0, 20 * PIECE)

    def read(offset: int, count: int) -> bytes:
        reading.set()
        assert offered.wait(60)
        return part.read(offset, count)

    hasher = PrefixHasher(len(CONTENT), read, threads, lambda: None)
    running = asyncio.create_task(hasher.run())
    await hasher.offer(0, (), 20 * PIECE)
    assert await asyncio.to_thread(reading.wait, 60)
    part.spans = part.spans.add(0, len(CONTENT))
    await hasher.offer(20 * PIECE, (CONTENT[20 * PIECE :],), len(CONTENT))
    offered.set()
    assert await running == DIGEST
    assert part.read_back == 20 * PIECE


@settings(deadline=None, max_examples=50)
@given(order=st.permutations(range(40)), claiming=st.booleans())
def test_any_order_gives_the_same_digest(order: list[int], claiming: bool) -> None:
    found, _ = asyncio.run(digest(order, claiming=claiming))
    assert found == DIGEST


async def test_nobody_waits_for_a_hasher_that_was_stopped() -> None:
    hasher = PrefixHasher(len(CONTENT), Part().read, Threads(), lambda: None)
    running = asyncio.create_task(hasher.run())
    await asyncio.sleep(0)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    async with asyncio.timeout(60):
        for number in range(10):
            await hasher.offer(number * PIECE, (CONTENT[:PIECE],), 0)


@pytest.mark.parametrize("claiming", [False, True])
async def test_another_hash_gets_the_same_bytes_in_order(claiming: bool) -> None:
    order = random.Random(1).sample(range(40), 40)
    part, threads, seen = Part(), Threads(), bytearray()
    hasher = PrefixHasher(len(CONTENT), part.read, threads, lambda: None, seen.extend)
    running = asyncio.create_task(hasher.run())
    for number in order:
        start, stop = number * PIECE, (number + 1) * PIECE
        claimed = claiming and hasher.claim(start, PIECE)
        if claimed:
            hasher.update((CONTENT[start:stop],))
        part.spans = part.spans.add(start, stop)
        if claimed:
            await hasher.hashed(stop, part.spans.prefix_end)
        else:
            await hasher.offer(start, (CONTENT[start:stop],), part.spans.prefix_end)
    assert (await running, bytes(seen)) == (DIGEST, CONTENT)


PART_SIZES = (7, 3 * PIECE, 1, PIECE, len(CONTENT) - 4 * PIECE - 8)


def upload_parts(content: bytes) -> UploadParts:
    ends = list(accumulate(PART_SIZES))
    contents = [content[start:end] for start, end in zip((0, *ends), ends, strict=False)]
    return UploadParts.of(PART_SIZES, b"".join(hashlib.sha256(one).digest() for one in contents))


@settings(deadline=None, max_examples=20)
@given(order=st.permutations(range(40)), claiming=st.booleans())
def test_right_upload_parts_are_accepted_in_any_order(order: list[int], claiming: bool) -> None:
    found, _ = asyncio.run(digest(order, claiming=claiming, parts=upload_parts(CONTENT)))
    assert found == DIGEST


@pytest.mark.parametrize("wrong", [0, 3500, len(CONTENT) - 1], ids=["first", "middle", "last"])
@pytest.mark.parametrize("written", [0, 40], ids=["from memory", "read back"])
async def test_a_wrong_byte_is_told_with_its_upload_part(wrong: int, written: int) -> None:
    other = bytearray(CONTENT)
    other[wrong] ^= 1
    number = sum(end <= wrong for end in accumulate(PART_SIZES)) + 1
    with pytest.raises(DigestMismatch, match=f"^part {number} of 5 of the upload "):
        await digest(list(range(written, 40)), written=written, parts=upload_parts(bytes(other)))


async def test_a_wrong_upload_part_is_told_before_what_follows_it_is_there() -> None:
    check = UploadPartsCheck(upload_parts(bytes(len(CONTENT))))
    check.update(CONTENT[:6])
    with pytest.raises(DigestMismatch, match="bytes 0-6"):
        check.update(CONTENT[6:7])


async def test_bytes_after_the_last_upload_part_and_missing_ones_are_wrong() -> None:
    check = UploadPartsCheck(upload_parts(CONTENT))
    check.update(CONTENT[:-1])
    with pytest.raises(DigestMismatch, match="end before part 5"):
        check.end()
    check.update(CONTENT[-1:])
    check.end()
    with pytest.raises(DigestMismatch, match="follow the last part"):
        check.update(b"x")
