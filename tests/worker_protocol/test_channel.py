"""Each line arrives once and in order, whatever a cut connection takes with it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_provisioner.worker_protocol.channel import (
    Channel,
    Hello,
    Welcome,
    decode_hello,
    decode_welcome,
    encode_greeting,
)


def deliver(frames: list[bytes], to: Channel) -> list[bytes]:
    return [line for line, _ in map(to.unpack, frames) if line]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.booleans()), max_size=20))
def test_no_line_is_lost_and_none_comes_twice(steps: list[tuple[int, int, bool]]) -> None:
    """Each step sends some lines, delivers some of these frames, and may cut the connection with the rest in flight."""
    here, there = Channel(), Channel()
    sent: list[bytes] = []
    arrived: list[bytes] = []
    flying: list[bytes] = []
    for number, delivered, is_cut in steps:
        for _ in range(number):
            sent.append(b"line %d" % len(sent))
            flying.append(here.pack(sent[-1]))
        arrived += deliver(flying[:delivered], there)
        flying = flying[delivered:]
        if is_cut:
            flying = here.resume(there.received)
    arrived += deliver(here.resume(there.received), there)
    assert arrived == sent
    here.unpack(there.confirmation())
    assert here.unconfirmed_bytes == 0


def test_a_line_that_may_be_lost_is_not_sent_again() -> None:
    here, there = Channel(), Channel()
    assert deliver([here.pack_once(b"progress")], there) == [b"progress"]
    assert here.resume(0) == []


def test_frames_that_are_not_next_are_refused() -> None:
    here, there = Channel(), Channel()
    first, second = here.pack(b"1"), here.pack(b"2")
    with pytest.raises(ValueError, match="line 2 follows line 0"):
        there.unpack(second)
    there.unpack(first)
    with pytest.raises(ValueError, match="line 1 follows line 1"):
        there.unpack(first)
    with pytest.raises(ValueError, match="no head"):
        there.unpack(b"short")


def test_what_the_other_side_can_t_have_received_is_refused() -> None:
    here, there = Channel(), Channel()
    with pytest.raises(ValueError, match="line 1 is confirmed, and 0 were sent"):
        here.resume(1)
    there.unpack(here.pack(b"1"))
    here.unpack(there.confirmation())
    with pytest.raises(ValueError, match="only 0 lines have arrived, and more were confirmed"):
        here.resume(0)


def test_greetings_are_read_as_they_were_written() -> None:
    hello, welcome = Hello("1.2", "session", 3), Welcome("session", 7, 4)
    assert decode_hello(encode_greeting(hello)) == hello
    assert decode_welcome(encode_greeting(welcome)) == welcome
    for text in ("", "[]", '{"version": 1}', "\x00"):
        with pytest.raises(ValueError, match=r"JSON|Expected|truncated|malformed"):
            decode_hello(text)
