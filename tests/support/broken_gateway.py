"""`python -m tests.support.broken_gateway gateway ...`: our gateway, of which the part that reads the Lease fails."""

from model_provisioner import cli
from model_provisioner.gateway.pulse import Pulse


async def fail(self: Pulse) -> None:
    raise KeyError("a bug of the test's")


if __name__ == "__main__":
    Pulse.run = fail  # type: ignore[method-assign]
    raise SystemExit(cli.main())
