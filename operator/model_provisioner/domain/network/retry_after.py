"""How long another side asks us to wait, read from the headers of its answer.

Called where an answer becomes an error (`hub_errors`). How long is waited in the end is `backoff`'s.
"""

import re
from collections.abc import Mapping
from datetime import UTC
from email.utils import parsedate_to_datetime

_RATE_LIMIT = re.compile(r'"\w+"\s*;\s*r\s*=\s*(\d+)\s*;\s*t\s*=\s*(\d+)')


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds to wait; None where nothing is asked. `headers` ignore case, `now` is in seconds since the epoch.

    `RateLimit` rides on every answer of the Hugging Face hub and explains a refusal only where nothing
    remains (`r=0`); else `Retry-After` counts, in seconds or as an HTTP date (RFC 9110, 10.2.3).
    """
    limit = _RATE_LIMIT.search(headers.get("RateLimit", ""))
    if limit and limit[1] == "0":
        return float(limit[2])
    asked = headers.get("Retry-After", "").strip()
    return float(asked) if asked.isascii() and asked.isdigit() else _until(asked, now)


def _until(date: str, now: float) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
    except ValueError:
        return None
    return max(0.0, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now)
