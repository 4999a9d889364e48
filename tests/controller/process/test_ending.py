"""A failed background task ends the process, and the exit code says whether the Lease was lost."""

import asyncio
import contextlib
import os

import pytest

from model_provisioner.controller.process import ending
from model_provisioner.controller.process.lease import LeaseLost


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize(("error", "code"), [(LeaseLost("taken"), 3), (KeyError("a bug"), 4)])
async def test_its_error_ends_the_process(exits: list[int], error: Exception, code: int) -> None:
    async def work() -> None:
        raise error

    async with contextlib.AsyncExitStack() as closing:
        await ending.in_background(closing, work())
        await asyncio.sleep(0)
    assert exits == [code]


async def test_its_end_by_ours_does_not(exits: list[int]) -> None:
    async with contextlib.AsyncExitStack() as closing:
        await ending.in_background(closing, asyncio.sleep(3600))
    assert exits == []
