"""Tickets open streams only, for an hour, and only while their token is valid."""

import asyncio
from pathlib import Path

import pytest

from model_provisioner.gateway.access import Authorizer
from model_provisioner.gateway.stream.tickets import Tickets
from model_provisioner.kube.client import KubeApi
from tests.gateway.caller import Desk
from tests.gateway.clock import Clock
from tests.gateway.streaming import serving
from tests.gateway.test_access import ALLOWED, DENIED
from tests.kube import watch_server

TICKET = "/v1/models/download/progress/ticket"
HOUR = 3600


def test_a_ticket_stands_for_its_token_for_an_hour() -> None:
    clock = Clock()
    tickets = Tickets(b"key", clock)
    ticket = tickets.issue("secret")
    assert "secret" not in ticket
    clock.seconds = HOUR - 1
    found = tickets.redeem(ticket)
    assert found is not None
    assert found.token == "secret"
    clock.seconds = HOUR
    assert tickets.redeem(ticket) is None


def test_a_later_ticket_of_the_same_token_does_not_lengthen_an_earlier_one() -> None:
    clock = Clock()
    tickets = Tickets(b"key", clock)
    early = tickets.issue("secret")
    clock.seconds = HOUR / 2
    late = tickets.issue("secret")
    clock.seconds = HOUR
    assert tickets.redeem(early) is None
    assert tickets.redeem(late) is not None


@pytest.mark.parametrize("forged", ["", ".", "..", "99999999.x.y", "é.ü.ö", "{later}", "{other}", "{cut}"])
def test_a_ticket_that_was_not_signed_here_is_refused(forged: str) -> None:
    tickets = Tickets(b"key", Clock())
    expires, holder, signature = tickets.issue("secret").split(".")
    other = Tickets(b"other key", Clock()).issue("secret")
    later = f"{int(expires) + 1}.{holder}.{signature}"
    text = forged.format(later=later, other=other, cut=f"{expires}.{holder}.{signature[:-1]}")
    assert tickets.redeem(text) is None


def test_only_so_many_tokens_are_remembered() -> None:
    tickets = Tickets(b"key", Clock())
    first, *_, last = [tickets.issue(f"token-{number}") for number in range(10_001)]
    assert tickets.redeem(first) is None
    assert tickets.redeem(last) is not None


def test_an_event_source_streams_with_a_ticket_and_comes_back_with_it(desk: Desk) -> None:
    issued = desk.caller("reader").call("POST", TICKET)
    assert issued.status_code == 201
    assert issued.headers["Cache-Control"] == "no-store"
    ticket = issued.json()["ticket"]
    assert issued.json()["expires_in"] == HOUR
    browser = desk.caller(None)
    for _ in range(2):
        with browser.stream(f"ticket={ticket}") as stream:
            stream.next("sync")
    for method, path in (("GET", "/v1/models"), ("GET", "/v1/models/downloads"), ("POST", TICKET)):
        refused = [browser.call(method, f"{path}?ticket={ticket}"), browser.call(method, path, headers=_as(ticket))]
        assert [answer.status_code for answer in refused] in ([400, 401], [401, 401])


def _as(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_an_account_that_may_not_watch_gets_no_ticket(desk: Desk) -> None:
    assert desk.caller("stranger").call("POST", TICKET).status_code == 403
    forged = desk.caller(None).call("GET", "/v1/models/download/progress?ticket=1.2.3")
    assert (forged.status_code, forged.json()["title"]) == (401, "Unauthorized")
    assert "another" in forged.json()["detail"]


@pytest.mark.parametrize(("reviews", "seconds"), [([ALLOWED, DENIED], 61), ([ALLOWED], HOUR)], ids=["refused", "over"])
async def test_a_stream_ends_with_its_ticket_or_with_the_right_behind_it(
    tmp_path: Path, reviews: list[watch_server.Document | int], seconds: float
) -> None:
    server = watch_server.WatchServer(reviews, [])
    async with watch_server.serving(server, tmp_path) as kubeconfig:
        api, clock = await KubeApi.connect(kubeconfig), Clock()
        tickets = Tickets(b"key", clock)
        authorizer = Authorizer(api, "models", open_to_all=False, monotonic=clock)
        ticket = tickets.issue("secret")
        async with (
            serving(authorizer, heartbeat=0.05, tickets=tickets) as service,
            service.reading(f"ticket={ticket}") as reader,
        ):
            await reader.until(b": heartbeat")
            clock.seconds = seconds
            assert (await reader.to_the_end()).endswith(b": goodbye: this token may not watch any longer\n\n")
        await api.close()
    assert set(server.tokens) == {"secret"}


async def test_concurrent_requests_share_one_review(tmp_path: Path) -> None:
    reviews = watch_server.WatchServer([ALLOWED], [])
    async with watch_server.serving(reviews, tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        authorizer = Authorizer(api, "models", open_to_all=False)
        assert all(await asyncio.gather(*(authorizer.is_allowed("shared", "watch", "") for _ in range(500))))
        await api.close()
    assert (len(reviews.requests), authorizer.reviews) == (1, 1)


async def test_a_review_goes_on_if_its_first_request_is_cancelled(tmp_path: Path) -> None:
    async with watch_server.serving(watch_server.WatchServer([ALLOWED], []), tmp_path) as kubeconfig:
        api = await KubeApi.connect(kubeconfig)
        authorizer = Authorizer(api, "models", open_to_all=False)
        first, second = (asyncio.create_task(authorizer.is_allowed("shared", "watch", "")) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        assert await second
        await api.close()
