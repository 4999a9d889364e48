"""`python -m tests.support.hasty_worker fetch --worker ...`: the worker of `hasty`, which soon believes a refusal."""

from model_provisioner import cli
from model_provisioner.transfer.download import connections

REFUSED_SECONDS = 3.0

if __name__ == "__main__":
    connections._GRACE_SECONDS = REFUSED_SECONDS
    raise SystemExit(cli.main())
