"""An archive that comes in pieces of any size tells the same as one that is there, and is not kept."""

from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.archives.tar_header import BLOCK
from model_provisioner.domain.archives.tar_stream import TarStream
from model_provisioner.domain.archives.tar_walk import Walk, advance
from tests.support import tars

LONG = "w/" + "name/" * 40 + "b.gguf"
PACKED = tars.tar(("README.md", b"# x" * 900), ("a.gguf", b"GGUF" * 800), (LONG, b"GGUF"), ("z.txt", b"z"))
WHOLE = advance(Walk(len(PACKED)), PACKED, 0)


@given(st.lists(st.integers(1, 3000), max_size=40))
def test_pieces_tell_the_same_as_the_whole(sizes: list[int]) -> None:
    stream, position = TarStream(Walk(len(PACKED))), 0
    for size in [*sizes, len(PACKED)]:
        stream, position = stream.fed(PACKED[position : position + size]), position + size
        assert len(stream._kept) < stream.walk.needed or stream.walk.ended
    assert stream.walk == WHOLE


def test_the_content_of_a_file_may_be_passed_over() -> None:
    first, second = WHOLE.members
    stream = TarStream(Walk(None)).fed(PACKED[: first.offset])
    assert stream.has(first.offset, first.size)
    assert not stream.has(first.offset, first.size + 1)
    assert not stream.has(second.offset, second.size)
    after = stream.passed(first.size).fed(PACKED[first.offset + first.size :])
    assert after.has(second.offset, second.size)
    assert after.walk.ended


def test_nothing_is_kept_after_the_end() -> None:
    stream = TarStream(Walk(None)).fed(bytes(BLOCK)).fed(b"x" * 10_000)
    assert (stream.walk.members, stream._kept) == ((), b"")
