"""The gateway through `kubectl port-forward`: the event stream over HTTP, and the page in a browser if there is one.

Called by `steps`.
"""

import contextlib
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

from selenium.webdriver import Chrome

from deploy.e2e.commands import Document, Failed, check, until
from deploy.local.event_stream import read_events
from tests.support import tools
from tests.support.browser import bars, chromium, log_in, shown
from tests.support.hub import Gate

SILENCE = 60.0  # seconds; the gateway sends a heartbeat every 15


@contextlib.contextmanager
def browser_at(url: str, token: str, profile: Path) -> Iterator[Chrome | None]:
    """A browser that is logged in to the page and shows `Live`; None if Chromium is not installed."""
    if not (tools.TOOLS["chromium"].find() and tools.TOOLS["chromedriver"].find()):
        yield None
        return
    with chromium(profile) as browser:
        log_in(browser, url, token)
        yield browser


def events(port: int, token: str, namespace: str) -> Iterator[tuple[str, Document]]:
    """The name and the data of each event of the stream. Raises Failed if it is refused or ends."""
    with contextlib.closing(HTTPConnection("127.0.0.1", port, timeout=SILENCE)) as connection:
        headers = {"Authorization": f"Bearer {token}"}
        connection.request("GET", f"/v1/models/download/progress?namespace={namespace}", headers=headers)
        response = connection.getresponse()
        check(response.status == 200, f"the stream is refused with {response.status}: {response.reason}")
        yield from read_events(response)
    raise Failed("the gateway ended the stream")


def follow(stream: Iterator[tuple[str, Document]], name: str, browser: Chrome | None, half: Gate) -> list[str]:
    """Reads until the download `name` is complete, and looks at the page meanwhile. Returns the names of the events.

    `half` holds the transfer back until the page has been seen.
    """
    seen: list[str] = []
    for event, data in stream:
        if data.get("name") != name:
            continue
        seen.append(event)
        check(event != "error", f"{name}: {data}")
        if len(seen) == 1:
            if browser:
                until(lambda: bars(browser), "the page shows a progress bar")
            half.release()
        if event == "complete":
            break
    if browser:
        until(lambda: not bars(browser), "the page has no progress bar any more")
        until(lambda: any(name in text for text in shown(browser, "#models .card")), "the page shows the model")
    return seen
