"""A bearer token and the origins it may be sent to. The controller reads Secrets; only `transfer.http` sends it."""

from dataclasses import dataclass, field

from model_provisioner.domain.network.addresses import Origin


@dataclass(frozen=True, slots=True)
class Credentials:
    """A bearer token. It may be sent to `origins` (`https://host:port`) only."""

    token: str = field(repr=False)
    origins: tuple[str, ...]

    def permits(self, origin: Origin) -> bool:
        """Whether `origin` is one of the origins. An answer of any other one may not choose what gets the token."""
        return origin in map(Origin.of, self.origins)
