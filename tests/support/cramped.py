"""`python -m tests.support.cramped operator ...`: our program with catalogs that have room for one small model."""

from model_provisioner import cli
from model_provisioner.domain import catalog

LIMIT_BYTES = 1024

if __name__ == "__main__":
    catalog.LIMIT_BYTES = LIMIT_BYTES
    raise SystemExit(cli.main())
