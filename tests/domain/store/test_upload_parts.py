"""Which parts are all parts of a file: their sizes make up its size, their digests its COMPOSITE SHA-256."""

import hashlib

import pytest

from model_provisioner.domain.store.upload_parts import UploadParts

DIGESTS = [hashlib.sha256(content).digest() for content in (b"aaaa", b"bbbb", b"c")]
PARTS = UploadParts((4, 4, 1), b"".join(DIGESTS))
COMPOSITE = hashlib.sha256(b"".join(DIGESTS)).digest()


def test_all_parts_make_up_a_file() -> None:
    assert PARTS.make_up(9, COMPOSITE)
    assert [PARTS.digest(index) for index in range(3)] == DIGESTS


@pytest.mark.parametrize(
    ("parts", "size", "composite"),
    [
        (PARTS, 8, COMPOSITE),
        (PARTS, 9, b"\0" * 32),
        (UploadParts((4, 4, 1), b"".join(reversed(DIGESTS))), 9, COMPOSITE),
        (UploadParts((4, 5), PARTS.digests), 9, COMPOSITE),
        (UploadParts((4, 5, 0), PARTS.digests), 9, COMPOSITE),
        (UploadParts((4, 6, -1), PARTS.digests), 9, COMPOSITE),
        (UploadParts((), b""), 0, hashlib.sha256(b"").digest()),
    ],
    ids=["size", "composite", "order", "count", "empty part", "negative part", "no parts"],
)
def test_others_do_not(parts: UploadParts, size: int, composite: bytes) -> None:
    assert not parts.make_up(size, composite)
