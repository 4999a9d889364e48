"""Makes an operator of the tests start workers of the tests. Used by the programs in this directory."""


def start_workers_as(module: str) -> None:
    """From now on the operator starts `module` as a worker instead of the program itself."""
    from model_provisioner.controller.workers import pool  # noqa: PLC0415 - a worker imports this module too, and does not need the pool

    original = pool.worker_command
    pool.worker_command = lambda settings: [
        word.replace("model_provisioner.cli", module) for word in original(settings)
    ]
