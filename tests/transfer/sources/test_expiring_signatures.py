"""Signed addresses of a bucket that expire on the way: the bytes that were sent count as its time, not a clock.

Tokens and addresses of registries that expire are in `test_oci` and `test_ollama`.
"""

import re
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from model_provisioner.aio.clock import Clock
from tests.support.bad_server import Answer, Asked, honest, refuses
from tests.support.front import Front
from tests.support.ggufs import tiny_gguf
from tests.support.sites import bucket_site
from tests.transfer.bench import no_sleep
from tests.transfer.sources.web import fetcher

MIB = 1024**2
MODEL = tiny_gguf(size=24 * MIB)
_SIGNED = re.compile(rb"X-Amz-Date=(\w+).*X-Amz-Expires=(\d+)")
_ADDRESSES = 5  # so many expire while the file is sent


@pytest.mark.parametrize("knows", [True, False], ids=["asked for again in time", "refused"])
async def test_an_address_that_expires_costs_no_byte_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, knows: bool
) -> None:
    """`knows`: the clock of the transfer is that of the server, which expires an address every 5 MiB."""
    began, times = time.time(), list[str]()

    def now() -> float:
        return began + 900 * _ADDRESSES * front.sent / len(MODEL)

    def until_it_expires(asked: Asked) -> Answer:
        found = _SIGNED.search(asked.head)
        assert found
        date, seconds = found[1].decode(), int(found[2])
        times.append(date)
        signed = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC).timestamp()
        return honest(asked) if now() < signed + seconds else refuses("403 Forbidden")(asked)

    (tmp_path / "site").mkdir()
    with bucket_site(tmp_path / "site", {"large": MODEL}) as site:
        front = Front(MODEL, always=until_it_expires, behind=site.port)
        async with front.running(), fetcher(tmp_path / "volume") as fetch:
            url = f"http://127.0.0.1:{front.port}"
            mine = site.credentials(url)
            plan = await fetch.resolve(site.ref("large", front.port), mine, endpoint=url)
            monkeypatch.setattr(time, "time", now)  # that of the signer
            if knows:
                fetch.clock = Clock(wall=now, sleep=no_sleep)
            provided = await fetch.transfer(plan, mine, connections=4)
    assert fetch.content(provided) == MODEL
    assert provided.received == front.sent == len(MODEL)
    assert len(set(times)) >= 3
