"""Which parts are all parts of a file: their sizes make up its size, their digests its COMPOSITE SHA-256."""

import hashlib
import sys

import pytest

from model_provisioner.domain.store.upload_parts import UploadParts

DIGESTS = [hashlib.sha256(content).digest() for content in (b"aaaa", b"bbbb", b"c")]
PARTS = UploadParts.of((4, 4, 1), b"".join(DIGESTS))
COMPOSITE = hashlib.sha256(b"".join(DIGESTS)).digest()


def test_all_parts_make_up_a_file() -> None:
    assert PARTS.make_up(9, COMPOSITE)
    assert [PARTS.digest(index) for index in range(3)] == DIGESTS


@pytest.mark.parametrize("sizes", [(), (4, 4, 1), (1, 2, 1, 2), (5,) * 1000, (2**64 - 1,)])
def test_the_sizes_are_those_that_were_given(sizes: tuple[int, ...]) -> None:
    parts = UploadParts.of(sizes, b"\0" * 32 * len(sizes))
    assert (tuple(parts.sizes()), parts.count) == (sizes, len(sizes))


def test_parts_of_other_sizes_have_another_key() -> None:
    keys = {UploadParts.of(sizes, PARTS.digests).key for sizes in ((4, 4, 1), (4, 1, 4), (9,))}
    assert len(keys) == 3


@pytest.mark.parametrize(("different", "most"), [(False, 33), (True, 45)])
def test_ten_thousand_parts_take_some_32_bytes_each(different: bool, most: int) -> None:
    sizes = range(2**30, 2**30 + 10_000) if different else [2**30] * 9_999 + [5]
    parts = UploadParts.of(sizes, b"\0" * 32 * 10_000)
    assert sys.getsizeof(parts) + sys.getsizeof(parts.runs) + sys.getsizeof(parts.digests) < most * 10_000


@pytest.mark.parametrize(
    ("parts", "size", "composite"),
    [
        (PARTS, 8, COMPOSITE),
        (PARTS, 9, b"\0" * 32),
        (UploadParts.of((4, 4, 1), b"".join(reversed(DIGESTS))), 9, COMPOSITE),
        (UploadParts.of((4, 5), PARTS.digests), 9, COMPOSITE),
        (UploadParts.of((4, 5, 0), PARTS.digests), 9, COMPOSITE),
        (UploadParts.of((), b""), 0, hashlib.sha256(b"").digest()),
    ],
    ids=["size", "composite", "order", "count", "empty part", "no parts"],
)
def test_others_do_not(parts: UploadParts, size: int, composite: bytes) -> None:
    assert not parts.make_up(size, composite)
