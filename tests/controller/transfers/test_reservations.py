"""The reservations on one volume are independent of a volume that hangs."""

import asyncio

from model_provisioner.controller.transfers.reservations import Reservations
from model_provisioner.domain.store.claim import Claim
from model_provisioner.domain.store.space import Room

ONE, OTHER = Claim("models", "one"), Claim("models", "other")


async def plenty() -> Room:
    return Room(needed=10, free=10**12)


async def test_a_volume_that_hangs_does_not_delay_a_download_to_another_one() -> None:
    reservations, hangs = Reservations(), asyncio.Event()

    async def measure() -> Room:
        await hangs.wait()
        return await plenty()

    await reservations.reserve(ONE, "first", lambda: 5, plenty)
    await reservations.reserve(OTHER, "first", lambda: 7, plenty)
    waits = asyncio.create_task(reservations.reserve(ONE, "second", lambda: 5, measure))
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        assert await reservations.reserve(OTHER, "second", lambda: 7, plenty) is None
    assert (reservations.reserved(ONE), reservations.reserved(OTHER)) == (5, 14)
    hangs.set()
    assert await waits is None
    assert reservations.reserved(ONE) == 10
