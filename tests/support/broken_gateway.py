"""`python -m tests.support.broken_gateway gateway ...`: the gateway with an OperatorLeaseMonitor that fails at once."""

from model_provisioner import cli
from model_provisioner.gateway.stream.lease_monitor import OperatorLeaseMonitor


async def fail(self: OperatorLeaseMonitor) -> None:
    raise KeyError("a bug of the test's")


if __name__ == "__main__":
    OperatorLeaseMonitor.run = fail  # type: ignore[method-assign]
    raise SystemExit(cli.main())
