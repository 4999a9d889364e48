"""`python -m tests.support.hasty operator ...`: our program, with seconds of patience for a late delivery.

So that a test can see the probe of a real process fail. Its patience with a silent API server is as it is.
"""

from model_provisioner import cli
from model_provisioner.controller import health

GRACE_SECONDS = 3.0

if __name__ == "__main__":
    health._GRACE_SECONDS = GRACE_SECONDS
    raise SystemExit(cli.main())
