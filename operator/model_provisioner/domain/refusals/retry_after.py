"""Reads from response headers how long a server asks us to wait.

`domain.refusals.hub_errors` calls this for an error response. The pause that results is computed in
`domain.lifecycle.backoff`.
"""

import re
from collections.abc import Mapping
from datetime import UTC

_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*([0-9]+)\s*;\s*t\s*=\s*([0-9]+)')
_MAX_SECONDS = 1e9  # a header can hold a number that is infinite as a float


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait, at most 1e9; None if the server does not ask for a pause, or not in a form that is known.

    `headers` is case-insensitive, `now` is in seconds since the epoch. The Hugging Face hub sends `RateLimit` with
    every response; it explains an error only if no request is left (`r=0`). Otherwise `Retry-After` applies, in seconds
    or as an HTTP date (RFC 9110, 10.2.3).
    """
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    if limit and limit[1] == "0":
        return min(float(limit[2]), _MAX_SECONDS)
    asked = headers.get("Retry-After", "").strip()
    seconds = float(asked) if asked.isascii() and asked.isdigit() else _until(asked, now)
    return None if seconds is None else min(seconds, _MAX_SECONDS)


def _until(date: str, now: float) -> float | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few servers send a date

    try:
        moment = parsedate_to_datetime(date)
        return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
    except (ValueError, OverflowError):  # the latter for a time zone that is days away
        return None
