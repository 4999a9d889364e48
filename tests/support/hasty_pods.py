"""The operator as it is, with worker pods that end after two seconds without work. Run by tests as a module."""

from model_provisioner import cli
from model_provisioner.controller.workers import pod_pool

pod_pool._IDLE_SECONDS = 2.0

if __name__ == "__main__":
    cli.run()
