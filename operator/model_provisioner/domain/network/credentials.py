"""A bearer token and where it may go. Read from Secrets by the operator and used by `transfer.http` alone."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Credentials:
    """A bearer token and the origins (`https://host:port`) that may see it."""

    token: str
    origins: tuple[str, ...]

    def __repr__(self) -> str:
        return f"Credentials(token=…, origins={self.origins})"
