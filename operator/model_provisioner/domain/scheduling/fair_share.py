"""Divides a limit on the bandwidth of all downloads among the running ones.

`controller.transfers.bandwidth` calls this.
"""

from collections.abc import Sequence


def shares(limit: int | None, wanted: Sequence[int | None]) -> tuple[int | None, ...]:
    """The bytes per second that each download may use, in the order of `wanted`: max-min fairness.

    `limit` is for all downloads together, `wanted` is the limit of each; None means unlimited. The smallest demands are
    met first, and what they leave is divided equally among the rest. Each share is at least 1, so the sum may exceed
    `limit` by one byte per second per download.
    """
    if limit is None:
        return tuple(wanted)
    granted: dict[int, int] = {}
    left = limit
    for index in sorted(range(len(wanted)), key=lambda position: _demand(wanted[position], limit)):
        equal = left // (len(wanted) - len(granted))
        granted[index] = max(1, min(_demand(wanted[index], limit), equal))
        left = max(0, left - granted[index])
    return tuple(granted[index] for index in range(len(wanted)))


def _demand(wanted: int | None, limit: int) -> int:
    return limit if wanted is None else wanted
