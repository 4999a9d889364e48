"""The operator as it is, with worker pods that end after two seconds without work. Run by tests as a module.

The Secret of the door is read twice a second.
"""

from model_provisioner import cli
from model_provisioner.controller.workers import pod_pool
from model_provisioner.controller.workers.door.given_secret import GivenSecret

pod_pool._IDLE_SECONDS = 2.0
GivenSecret.renewal_seconds = 0.5

if __name__ == "__main__":
    cli.run()
