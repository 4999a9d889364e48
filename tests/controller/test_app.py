"""The process as a whole: a failed background task ends it, and the Lease has a name of it that others can check."""

import asyncio
import contextlib
import os

import pytest

from model_provisioner.controller import app
from model_provisioner.controller.process.lease import LeaseLost
from model_provisioner.domain.liveness import LeaseHolder
from model_provisioner.settings.operator import OperatorSettings

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


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
        await app._in_background(closing, work())
        await asyncio.sleep(0)
    assert exits == [code]


async def test_its_end_by_ours_does_not(exits: list[int]) -> None:
    async with contextlib.AsyncExitStack() as closing:
        await app._in_background(closing, asyncio.sleep(3600))
    assert exits == []


@pytest.mark.parametrize(
    ("pod_uid", "own", "identity"),
    [
        (UID, "ai", LeaseHolder("operator-a", UID)),
        (UID, None, LeaseHolder("operator-a", UID)),
        (UID, "elsewhere", LeaseHolder("operator-a")),
        (None, None, LeaseHolder("operator-a")),
    ],
)
def test_the_lease_has_the_uid_of_a_pod_that_can_be_looked_up_beside_it(
    monkeypatch: pytest.MonkeyPatch, pod_uid: str | None, own: str | None, identity: LeaseHolder
) -> None:
    """A pod in another namespace would seem to be gone."""
    monkeypatch.setenv("POD_NAME", "operator-a")
    if pod_uid is not None:
        monkeypatch.setenv("POD_UID", pod_uid)
    monkeypatch.setattr(app, "own_namespace", lambda: own)
    settings = OperatorSettings(store=["ai/models=/models"])
    assert app._identity(settings, "ai") == identity
