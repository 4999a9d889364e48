"""Reads from a signed URL when it expires.

`transfer.download.remote_file` calls this and requests a new URL before that. A signed URL is a credential: no message
and no log line may contain its query.
"""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

_MARGIN_SECONDS = 60.0


def refresh_at(url: str, obtained: float) -> float | None:
    """When to replace `url`, in seconds since the epoch; None if the URL names no expiry.

    `obtained` is when it was received, in seconds since the epoch. The result is a minute before the expiry, or half of
    the lifetime if that is less than two minutes. CloudFront writes `Expires=<epoch>`, S3 writes
    `X-Amz-Date=…&X-Amz-Expires=<seconds>`.
    """
    expiry = _expiry(dict(parse_qsl(urlsplit(url).query)))
    return None if expiry is None else max(expiry - _MARGIN_SECONDS, obtained + (expiry - obtained) / 2)


def _expiry(query: dict[str, str]) -> float | None:
    try:
        if "Expires" in query:
            return float(query["Expires"])
        if "X-Amz-Expires" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed.timestamp() + float(query["X-Amz-Expires"])
    except (KeyError, ValueError):
        pass
    return None
