"""A background task that fails ends the process."""

import asyncio
import contextlib
import os

import pytest

from model_provisioner.aio.background import in_background


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    return codes


async def test_its_error_ends_the_process(exits: list[int], caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        raise KeyError("a bug")

    async with contextlib.AsyncExitStack() as closing:
        await in_background(closing, work())
        await asyncio.sleep(0)
    assert exits == [4]
    assert "KeyError" in caplog.text


async def test_its_cancellation_at_the_end_does_not(exits: list[int]) -> None:
    ended = []

    async def work() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.append(True)

    async with contextlib.AsyncExitStack() as closing:
        await in_background(closing, work())
    assert (exits, ended) == ([], [True])
