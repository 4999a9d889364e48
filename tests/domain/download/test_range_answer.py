"""Which bytes of a file an answer has, from its header."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.domain.download.range_answer import (
    AnswerHeader,
    Body,
    RequestedFile,
    Unlabelled,
    WrongAnswer,
    judge,
)
from model_provisioner.domain.download.ranges import ByteRange

SIZE = 100
PART, WHOLE = ByteRange(5, 10), ByteRange(0, SIZE)
PROVEN, UNPROVEN = RequestedFile(SIZE, digest_known=True), RequestedFile(SIZE, digest_known=False)


def labelled(text: str) -> AnswerHeader:
    return AnswerHeader(206, content_range=text, content_length="5")


@pytest.mark.parametrize(
    ("content_range", "right"),
    [
        ("bytes 5-9/100", True),
        ("Bytes  5-9/100 ", True),
        ("bytes 5-9/101", False),
        ("bytes 5-8/100", False),
        ("bytes 4-9/100", False),
        ("bytes 5-10/100", False),
        ("bytes */100", False),
        ("items 5-9/100", False),
        ("bytes 5-9/" + "9" * 5000, False),
    ],
)
def test_a_labelled_part_is_the_exact_range_of_a_file_of_the_same_size(content_range: str, right: bool) -> None:
    for file in (PROVEN, UNPROVEN):
        assert judge(labelled(content_range), PART, file) == (Body(PART) if right else judged_wrong(content_range))


def judged_wrong(content_range: str) -> WrongAnswer:
    told = f"answered {content_range[:60]!r} when asked for bytes=5-9 of 100"
    return WrongAnswer(f"{told}: the file has changed there, or a proxy interferes")


def test_a_part_of_a_file_of_unknown_size_needs_a_digest() -> None:
    assert judge(labelled("bytes 5-9/*"), PART, PROVEN) == Body(PART)
    refused = judge(labelled("bytes 5-9/*"), PART, UNPROVEN)
    assert isinstance(refused, WrongAnswer)
    assert "no digest is known" in refused.problem


CHUNKED = AnswerHeader(200, transfer_encoding="chunked")


@pytest.mark.parametrize("asked", [PART, WHOLE])
def test_a_200_is_the_whole_file_if_its_length_does_not_contradict(asked: ByteRange) -> None:
    assert judge(AnswerHeader(200, content_length="100"), asked, UNPROVEN) == Body(WHOLE)
    assert judge(AnswerHeader(200), asked, UNPROVEN) == Body(WHOLE, open_ended=True)
    assert judge(CHUNKED, asked, UNPROVEN) == Body(WHOLE, open_ended=True)
    beside_chunks = AnswerHeader(200, content_length="7", transfer_encoding="chunked")
    assert judge(beside_chunks, asked, UNPROVEN) == Body(WHOLE, open_ended=True)
    assert isinstance(judge(AnswerHeader(200, content_length="5"), asked, PROVEN), WrongAnswer)
    assert isinstance(judge(AnswerHeader(200, content_type="text/HTML; charset=x"), asked, PROVEN), WrongAnswer)


def test_the_length_tells_a_part_without_label_from_the_whole() -> None:
    part, whole, other = (AnswerHeader(206, content_length=length) for length in ("5", "100", "6"))
    assert (judge(part, PART, PROVEN), judge(part, PART, UNPROVEN)) == (Body(PART), Unlabelled())
    assert (judge(whole, PART, PROVEN), judge(whole, PART, UNPROVEN)) == (Body(WHOLE), Body(WHOLE))
    assert judge(AnswerHeader(206), PART, PROVEN) == Unlabelled()
    assert isinstance(judge(other, PART, PROVEN), WrongAnswer)


@pytest.mark.parametrize("file", [PROVEN, UNPROVEN])
def test_a_request_for_the_whole_file_never_gets_an_unclear_answer(file: RequestedFile) -> None:
    assert judge(AnswerHeader(206, content_length="100"), WHOLE, file) == Body(WHOLE)
    assert judge(AnswerHeader(206), WHOLE, file) == Body(WHOLE, open_ended=True)


def test_several_parts_are_never_one() -> None:
    header = AnswerHeader(206, content_length="100", content_type="multipart/byteranges; boundary=x")
    assert isinstance(judge(header, WHOLE, PROVEN), WrongAnswer)


@given(
    header=st.builds(
        AnswerHeader,
        st.sampled_from([200, 206]),
        st.sampled_from(["", "bytes 5-9/100", "bytes 5-9/*", "bytes 0-99/100"]) | st.text(),
        st.sampled_from(["", "5", "100"]) | st.text(),
        st.sampled_from(["", "chunked"]),
        st.text(),
    ),
    asked=st.sampled_from([PART, WHOLE]),
    file=st.sampled_from([PROVEN, UNPROVEN]),
)
def test_every_header_has_a_verdict_and_a_body_covers_what_was_asked(
    header: AnswerHeader, asked: ByteRange, file: RequestedFile
) -> None:
    verdict = judge(header, asked, file)
    if isinstance(verdict, Body):
        assert verdict.range in (asked, WHOLE)
