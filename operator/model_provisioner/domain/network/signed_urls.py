"""When a signed URL ends. Called by the transfer, which asks for a new one before that.

Such a URL is a credential: nothing here or elsewhere may show its query.
"""

from datetime import UTC, datetime
from urllib.parse import parse_qsl, urlsplit

_MARGIN_SECONDS = 60.0


def refresh_at(url: str, obtained: float) -> float | None:
    """Seconds since the epoch at which a URL that was `obtained` then should be replaced; None: it does not tell.

    A minute before it ends, or at half of a life that is shorter than two minutes. CloudFront says
    `Expires=<epoch>`, S3 `X-Amz-Date=…&X-Amz-Expires=<seconds>`.
    """
    end = _end(dict(parse_qsl(urlsplit(url).query)))
    return None if end is None else max(end - _MARGIN_SECONDS, obtained + (end - obtained) / 2)


def _end(query: dict[str, str]) -> float | None:
    try:
        if "Expires" in query:
            return float(query["Expires"])
        if "X-Amz-Expires" in query:
            signed = datetime.strptime(query["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            return signed.timestamp() + float(query["X-Amz-Expires"])
    except (KeyError, ValueError):
        pass
    return None
