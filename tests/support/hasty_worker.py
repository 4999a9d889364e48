"""`python -m tests.support.hasty_worker fetch --worker ...`: a worker of `hasty`; a refusal counts soon."""

from model_provisioner import cli
from model_provisioner.transfer.download.requests import connections

REFUSED_SECONDS = 3.0

if __name__ == "__main__":
    connections._GRACE_SECONDS = REFUSED_SECONDS
    raise SystemExit(cli.main())
