"""Many questions at one time: how many, in which order the answers are, and what an error does to the others."""

import asyncio

import pytest

from model_provisioner.aio.parallel import in_parallel


async def test_answers_are_in_order_and_no_more_than_the_limit_are_asked_at_a_time() -> None:
    asking: set[int] = set()
    most = 0

    async def ask(number: int) -> int:
        nonlocal most
        asking.add(number)
        most = max(most, len(asking))
        for _ in range(10 - number):  # the first one takes longest
            await asyncio.sleep(0)
        asking.remove(number)
        return number * 2

    assert await in_parallel(3, ask, range(10)) == [number * 2 for number in range(10)]
    assert most == 3


async def test_the_first_error_ends_the_others_before_it_is_raised() -> None:
    ended: list[int] = []

    async def ask(number: int) -> None:
        if number == 1:
            raise ValueError("the second one")
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(number)

    with pytest.raises(ValueError, match="the second one"):
        await in_parallel(3, ask, range(3))
    assert sorted(ended) == [0, 2]


async def test_nothing_to_ask_is_no_answer() -> None:
    async def ask(_: int) -> None:
        raise AssertionError("nothing is asked")

    assert await in_parallel(1, ask, ()) == []
