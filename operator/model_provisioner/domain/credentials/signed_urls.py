"""Reads from a signed URL when it expires.

`transfer.download.requests.remote_file` calls this and requests a new URL before that. A signed URL is a credential: no
message and no log line may contain its query.
"""

import re
from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

_MARGIN_SECONDS = 60.0
_SECONDS = re.compile(r"[0-9]{1,15}")


def refresh_at(url: str, obtained: float) -> float | None:
    """When to replace `url`, in seconds since the epoch; None if the URL names no expiry.

    `obtained` is when it was received, in seconds since the epoch. The result is a minute before the expiry, or half of
    the lifetime if that is less than two minutes. CloudFront writes `Expires=<epoch>`, S3 writes
    `X-Amz-Date=…&X-Amz-Expires=<seconds>`.
    """
    expiry = _expiry(url)
    return None if expiry is None else refresh_before(expiry, obtained)


def refresh_before(expiry: float, obtained: float, margin: float = _MARGIN_SECONDS) -> float:
    """When to replace what was received at `obtained` and expires at `expiry`, all in seconds since the epoch.

    It is `margin` seconds before the expiry, or half of the lifetime if that is less than two margins.
    """
    return max(expiry - margin, obtained + (expiry - obtained) / 2)


def _expiry(url: str) -> float | None:
    """In seconds since the epoch; None if the URL has no expiry, or one that can't be read."""
    try:
        query = dict(parse_qsl(urlsplit(url).query))
        if "Expires" in query:
            return _seconds(query["Expires"])
        if "X-Amz-Expires" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed.timestamp() + _seconds(query["X-Amz-Expires"])
    except (KeyError, ValueError):
        pass
    return None


def _seconds(text: str) -> float:
    """Raises ValueError."""
    if not _SECONDS.fullmatch(text):
        raise ValueError
    return float(text)
