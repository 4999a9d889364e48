"""Parses and formats amounts of bytes, rates and durations.

`parse_quantity` reads Kubernetes quantities, from the resource and from flags; `parse_duration` reads durations. The
`format_…` functions write texts for people: status, progress bars, messages. No program reads those texts again.
"""

import re

MAX_INT64 = 2**63 - 1
"""The largest number of the API server, of a file's size and of the fields that are read of a header."""
_BINARY = ("Ki", "Mi", "Gi", "Ti", "Pi")
_DECIMAL = ("k", "M", "G", "T", "P")
_FACTORS = {
    "": 1,
    **{suffix: 1024**power for power, suffix in enumerate(_BINARY, 1)},
    **{suffix: 1000**power for power, suffix in enumerate(_DECIMAL, 1)},
}
# The lengths are bounded, so that no exponent can produce a number that fills the memory.
_QUANTITY = re.compile(
    r"(?P<number>[0-9]{1,20}(?:\.[0-9]{0,20})?|\.[0-9]{1,20})(?:(?P<suffix>[KMGTP]i|[kMGTP])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
_DURATION = re.compile(r"(?=[0-9])(?:([0-9]{1,6})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,6}(?:\.[0-9]{1,3})?)s?)?")


def parse_quantity(value: str | int) -> int:
    """The bytes, rounded up, of a Kubernetes quantity such as 52428800, 50Mi, 1.5Gi or 2e9.

    Raises ValueError with a message for users for other text, also for negative quantities and milli-bytes (`100m`).
    Source: the grammar in k8s.io/apimachinery/pkg/api/resource, without n, u, m, E and Ei.
    """
    match = _QUANTITY.fullmatch(str(value))
    if not match:
        raise ValueError(
            f"{str(value)[:80]!r} is not an amount of bytes: write a number such as 52428800, 50Mi or 1.5Gi"
        )
    whole, _, places = match["number"].partition(".")
    exponent = int(match["exponent"] or 0) - len(places)
    number = int(whole + places) * _FACTORS[match["suffix"] or ""]
    rounded_up: int = number * 10**exponent if exponent >= 0 else -(-number // 10**-exponent)
    if rounded_up > MAX_INT64:
        raise ValueError(f"{str(value)[:80]!r} is more than {MAX_INT64} bytes")
    return rounded_up


def format_bytes(count: int) -> str:
    """`637 MiB`: rounded down, so that no amount looks complete too early; one decimal below 10."""
    power = min((max(count, 1).bit_length() - 1) // 10, len(_BINARY))
    tenths = max(count, 0) * 10 >> (10 * power)
    amount = f"{tenths // 10}.{tenths % 10}" if tenths < 100 and tenths % 10 else f"{tenths // 10}"
    return f"{amount} {_BINARY[power - 1]}B" if power else f"{amount} B"


def format_rate(bytes_per_second: float) -> str:
    """`50 MiB/s`."""
    return f"{format_bytes(int(bytes_per_second))}/s"


def parse_duration(value: str) -> float:
    """The seconds of a duration such as 90, 30s, 10m or 1h30m, as kubectl's `--timeout` takes them.

    Raises ValueError with a message for users for other text, also for negative durations.
    """
    match = _DURATION.fullmatch(value)
    if not match:
        raise ValueError(f"{value[:80]!r} is not a duration: write 90, 30s, 10m or 1h30m")
    hours, minutes, seconds = match.groups(default="0")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


def format_duration(seconds: float) -> str:
    """`11s`, `2m05s`, `1h02m` or `3d04h`: the two largest units, rounded down; a negative duration is `0s`."""
    minutes, second = divmod(max(int(seconds), 0), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d{hour:02}h"
    if hours:
        return f"{hours}h{minute:02}m"
    return f"{minutes}m{second:02}s" if minutes else f"{second}s"
