"""A bearer token and the origins it may be sent to. The controller reads Secrets; only `transfer.http` sends it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """A bearer token. It may be sent to `origins` (`https://host:port`) only."""

    token: str
    origins: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Credentials(token=…, origins={self.origins})"
