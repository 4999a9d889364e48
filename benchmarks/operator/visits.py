"""Scrapes and probes of the operator, so that the benchmark includes their cost."""

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException


@contextlib.contextmanager
def visited(health: str, metrics: str) -> Iterator[Counter[str]]:
    """Scrapes and probes as often as usual, within the block. Yields the number of responses 200 by path."""
    answered: Counter[str] = Counter()
    over = threading.Event()
    visits = [
        (metrics, "/metrics", 15.0, {"Accept": "application/openmetrics-text", "Accept-Encoding": "gzip"}),
        (health, "/healthz", 10.0, {}),
        (health, "/readyz", 5.0, {}),
    ]
    threads = [threading.Thread(target=_visit, args=(over, answered, *visit), daemon=True) for visit in visits]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _visit(
    over: threading.Event, answered: Counter[str], address: str, path: str, every: float, headers: dict[str, str]
) -> None:
    while not over.wait(every):
        connection = HTTPConnection(address, timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            response.read()
            answered[path] += response.status == 200
        except (OSError, HTTPException):
            continue  # the operator does not listen yet
        finally:
            connection.close()
