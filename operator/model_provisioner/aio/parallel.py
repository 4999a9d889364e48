"""Asks many questions at one time, but not more than the server that answers should get.

Called by the sources of `transfer`, for the files of one model.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from model_provisioner.aio.cancellation import cancel_and_wait

A = TypeVar("A")
T = TypeVar("T")


async def in_parallel(most: int, ask: Callable[[A], Awaitable[T]], subjects: Iterable[A]) -> list[T]:
    """The answers in the order of `subjects`, `most` of them asked for at a time. The first error ends the others."""
    free = asyncio.Semaphore(most)

    async def answer(subject: A) -> T:
        async with free:
            return await ask(subject)

    tasks = [asyncio.create_task(answer(subject)) for subject in subjects]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel_and_wait(*tasks)
