"""Which files an archive has, by its headers alone: as Python packs it, and as an attacker does."""

import io
import tarfile
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.archives.bad_archive import BadArchive
from model_provisioner.domain.archives.tar_header import BLOCK
from model_provisioner.domain.archives.tar_walk import MAX_ENTRIES, Member, Walk, advance
from tests.support import tars
from tests.support.tars import archive, entry, header, records

MODEL = b"GGUF" * 300
LONG = "weights/" + "very-long-name/" * 20 + "model.gguf"


def walked(packed: bytes, window: int | None = None, total: int | None = -1) -> Walk:
    """The walk through `packed`, of which `window` bytes are given at a time, as small ranges of a registry are."""
    walk = Walk(len(packed) if total == -1 else total)
    while not walk.ended:
        size = max(window or len(packed), walk.needed)
        before, data = walk, packed[walk.position : walk.position + size]
        walk = advance(walk, data, walk.position)
        if walk == before:
            break
    return walk


def content_of(packed: bytes, member: Member) -> bytes:
    return packed[member.offset : member.offset + member.size]


@pytest.mark.parametrize("format_", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("window", [BLOCK, 1500, None])
def test_a_model_is_found_between_other_files(format_: int, window: int | None) -> None:
    packed = tars.tar(
        ("./", b""), ("./README.md", b"# x" * 999), ("./tiny.gguf", MODEL), ("z.json", b"{}"), format=format_
    )
    walk = walked(packed, window)
    (member,) = walk.members
    assert (member.name, content_of(packed, member), walk.ended) == ("./tiny.gguf", MODEL, True)


@pytest.mark.parametrize("format_", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_long_name_is_read(format_: int) -> None:
    packed = tars.tar((LONG, MODEL), format=format_)
    assert [(one.name, content_of(packed, one)) for one in walked(packed, BLOCK).members] == [(LONG, MODEL)]


def test_a_prefix_is_part_of_the_name_only_by_posix() -> None:
    posix = archive(header(b"a.gguf", 4, prefix=b"deep/er") + MODEL[:4].ljust(BLOCK, b"\0"))
    gnu = archive(header(b"a.gguf", 4, prefix=b"\x01\x02", magic=b"ustar ") + MODEL[:4].ljust(BLOCK, b"\0"))
    assert [walked(one).members[0].name for one in (posix, gnu)] == ["deep/er/a.gguf", "a.gguf"]


@pytest.mark.parametrize("size", [8**11, 40 * 1024**3])
@pytest.mark.parametrize("shape", ["pax", "pax of libarchive", "base-256"])
def test_a_file_of_more_than_8_gib_is_found_without_its_content(size: int, shape: str) -> None:
    field = {"pax": b"%011o\0" % 0, "pax of libarchive": b"7" * 12, "base-256": b"\x80" + size.to_bytes(11, "big")}[
        shape
    ]
    begin = records(("size", str(size))) if shape != "base-256" else b""
    begin += header(b"big.gguf", field)
    walk = advance(Walk(len(begin) + size + 2 * BLOCK), begin, 0)
    assert walk.members == (Member("big.gguf", len(begin), size),)
    assert walk.position == len(begin) + size
    assert advance(walk, bytes(BLOCK), walk.position).ended


def test_what_is_called_like_a_model_and_is_none_is_passed_over() -> None:
    packed = archive(
        entry(b"link.gguf", kind=b"2"),
        entry(b"hard.gguf", kind=b"1"),
        entry(b"null.gguf", kind=b"3"),
        entry(b"pipe.gguf", kind=b"6"),
        entry(b"dir.gguf/", kind=b"5"),
        entry(b"._tiny.gguf", b"attributes of macOS"),
        entry(b"odd.gguf", b"x", kind=b"Z"),
        entry(b"empty.gguf"),
        records(("GNU.sparse.major", "1"), ("GNU.sparse.name", "s.gguf")) + entry(b"s.gguf", b"map and data"),
        entry(b"tiny.gguf", MODEL),
    )
    walk = walked(packed)
    assert [one.name for one in walk.members] == ["tiny.gguf"]
    assert walk.passed_over == "'s.gguf' is a sparse file"
    for kind, what in ((b"2", "a symbolic link"), (b"1", "a hard link"), (b"3", "a device"), (b"Z", "of an unknown")):
        assert what in walked(archive(entry(b"m.gguf", kind=kind))).passed_over


HOSTILE = {
    "no archive": (b"GGUF" + bytes(2000), "checksum is wrong"),
    "gzip": (b"\x1f\x8b\x08" + bytes(2000), "checksum is wrong"),
    "a wrong checksum": (archive(entry(b"a.gguf", MODEL)).replace(b"a.gguf", b"b.gguf", 1), "checksum is wrong"),
    "no digits in the checksum": (b"a" * BLOCK, "a number that is none"),
    "ends in a header": (entry(b"a.gguf", MODEL) + header(b"b")[:300], "ends too early"),
    "ends in a content": (entry(b"a.gguf", MODEL)[:-BLOCK], "ends too early"),
    "ends after a header of records": (records(("path", "a.gguf")), "ends too early"),
    "a size beyond its end": (archive(header(b"a.gguf", 10**6)), "ends too early"),
    "no digits in the size": (archive(header(b"a.gguf", b"0000000009\0")), "a number that is none"),
    "a sign in the size": (archive(header(b"a.gguf", b"-0000000001\0")), "a number that is none"),
    "a size with a hole": (archive(header(b"a.gguf", b"0000 000001\0")), "a number that is none"),
    "a negative size": (archive(header(b"a.gguf", b"\xff" * 12)), "negative"),
    "a size beyond all files": (archive(header(b"a.gguf", b"\x80" + b"\x7f" * 11)), "no size reaches"),
    "a size that overflows 64 bits": (archive(header(b"a.gguf", b"\x80\0\0\0" + b"\xff" * 8)), "no size reaches"),
    "two sizes": (archive(records(("size", "4")), entry(b"a.gguf", MODEL)), "two sizes"),
    "a negative size in a record": (archive(records(("size", "-4")), entry(b"a.gguf", MODEL)), "none"),
    "an endless size in a record": (archive(records(("size", "9" * 500)), entry(b"a.gguf")), "none"),
    "endless records": (archive(*[records(("comment", "x"))] * 50, entry(b"a.gguf", MODEL)), "too long records"),
    "a record of 1 GiB": (archive(header(b"x", 1024**3, kind=b"x")), "too long records"),
    "a name of 1 GiB": (archive(header(b"x", 1024**3, kind=b"L")), "too long records"),
    "a record without end": (archive(entry(b"x", b"12 path=a.gg", b"x")), "damaged"),
    "a record longer than all": (archive(entry(b"x", b"999 path=a\n", b"x")), "damaged"),
    "a record of no length": (archive(entry(b"x", b"0 path=a\n", b"x")), "damaged"),
    "a record without a number": (archive(entry(b"x", b"xx path=a\n", b"x")), "damaged"),
    "a record without a value": (archive(entry(b"x", b"8 path\n\n", b"x")), "damaged"),
    "global names": (archive(records(("path", "a.gguf"), kind=b"g"), entry(b"b", MODEL)), "global records"),
    "a link with a content": (archive(entry(b"a", MODEL, b"2")), "a symbolic link with a content"),
    "a directory with a content": (archive(entry(b"a/", MODEL)), "a directory with a content"),
    "a sparse file": (archive(entry(b"a.gguf", MODEL, b"S")), "without sparse files"),
    "a piece of a file": (archive(entry(b"a.gguf", MODEL, b"M")), "in one volume"),
    "endless entries": (archive(*[entry(b"a")] * (MAX_ENTRIES + 1)), "more than 1,000 entries"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("window", [BLOCK, None])
def test_a_hostile_archive_is_refused(case: str, window: int | None) -> None:
    packed, says = HOSTILE[case]
    with pytest.raises(BadArchive, match=says):
        walked(packed, window)


def test_names_of_an_attacker_are_only_text() -> None:
    names = ["../../etc/x.gguf", "/etc/x.gguf", "..\\x.gguf", "a/\x01/x.gguf", "x\n.gguf"]
    packed = archive(*(entry(name.encode(), MODEL) for name in names), entry(b"\xff\xfe.gguf", MODEL))
    assert [one.name for one in walked(packed).members] == [*names, r"\xff\xfe.gguf"]


def test_an_archive_without_its_end_is_read() -> None:
    assert len(walked(entry(b"a.gguf", MODEL)).members) == 1


def test_an_archive_of_unknown_size_is_read_as_far_as_it_goes() -> None:
    packed = archive(entry(b"a.gguf", MODEL), entry(b"b", b"x" * 5000))
    assert [one.name for one in walked(packed[: 3 * BLOCK], total=None).members] == ["a.gguf"]
    assert walked(packed, total=None).ended


@given(st.binary(max_size=2000), st.integers(0, 1500))
def test_any_bytes_are_a_walk_or_a_bad_archive(noise: bytes, at: int) -> None:
    good = bytearray(archive(records(("path", "a.gguf")), entry(b"b", b"x" * 700)))
    good[at : at + len(noise)] = noise
    for packed in (noise, bytes(good)):
        with suppress(BadArchive):
            assert all(one.offset + one.size <= len(packed) for one in walked(packed).members)


@given(
    st.lists(st.tuples(st.sampled_from(["a.gguf", "b/c.GGUF", LONG, "d.txt"]), st.binary(max_size=1200)), max_size=6)
)
def test_the_walk_finds_what_tarfile_finds(entries: list[tuple[str, bytes]]) -> None:
    packed = tars.tar(*entries)
    with tarfile.open(fileobj=io.BytesIO(packed)) as found:
        wanted = [
            (one.name, one.offset_data, one.size) for one in found if one.name.lower().endswith(".gguf") and one.size
        ]
    assert [(one.name, one.offset, one.size) for one in walked(packed, BLOCK).members] == wanted
