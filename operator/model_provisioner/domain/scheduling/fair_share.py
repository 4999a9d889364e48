"""How a limit on all downloads together is shared among those that run. Pure; the controller asks."""

from collections.abc import Sequence


def shares(limit: int | None, wanted: Sequence[int | None]) -> tuple[int | None, ...]:
    """The bytes per second of each download, max-min fair; None is without limit, of all or of one of them.

    Nobody gets more than it `wanted`, and what one leaves is for the others: the smallest wishes are met
    first, and who wants more than an equal part of the rest gets an equal part. Together at most `limit`,
    but for the one byte per second that each has at least.
    """
    if limit is None:
        return tuple(wanted)
    granted: dict[int, int] = {}
    left = limit
    for index in sorted(range(len(wanted)), key=lambda one: _wish(wanted[one], limit)):
        equal = left // (len(wanted) - len(granted))
        granted[index] = max(1, min(_wish(wanted[index], limit), equal))
        left = max(0, left - granted[index])
    return tuple(granted[index] for index in range(len(wanted)))


def _wish(wanted: int | None, limit: int) -> int:
    return limit if wanted is None else wanted
