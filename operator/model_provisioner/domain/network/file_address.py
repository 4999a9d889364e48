"""Where the bytes of a file are for a while, as a source says when it is asked.

`transfer.sources` makes it, `worker_protocol` carries it, `transfer.download.requests.remote_file` requests it. It
holds a signature or a token, so it is never logged, shown or written.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

_SHORTEST_VALUE = 16  # a signature is longer; a shorter value is a date, a number or a word


@dataclass(frozen=True, slots=True)
class Address:
    """A URL, and the headers that are sent to its origin only, such as `Authorization`.

    `expires` is in seconds since the epoch; None if only the URL itself tells (`domain.credentials.signed_urls`), or
    nothing does.
    """

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    expires: float | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must not be shown if a server sends it back."""
        values = (value for _, value in parse_qsl(urlsplit(self.url).query))
        return (*self.headers.values(), *(value for value in values if len(value) >= _SHORTEST_VALUE))
