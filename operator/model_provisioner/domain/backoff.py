"""How long to wait before the next try. Pure: the random number is an argument."""

_FIRST_SECONDS = 1.0
_LONGEST_SECONDS = 300.0
_LONGEST_ASKED_SECONDS = 3600.0


def delay(failures: int, retry_after: float | None, random: float) -> float:
    """Seconds before try number `failures` + 1; `random` is in 0..1.

    Doubles from one second to five minutes, with half of it jittered so that many objects do not
    come back at once. What the other side asked for (`retry_after`) is a lower bound, up to an hour.
    """
    exponential: float = min(_FIRST_SECONDS * 2 ** min(max(failures - 1, 0), 16), _LONGEST_SECONDS)
    jittered = exponential * (0.5 + 0.5 * random)
    if retry_after is None:
        return jittered
    return max(jittered, min(retry_after, _LONGEST_ASKED_SECONDS) + random)
