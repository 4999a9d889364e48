"""Has an operator of the tests start workers of the tests, for the programs beside this one."""


def start_workers_as(module: str) -> None:
    """From now on `module` is started where the operator starts the program itself."""
    from model_provisioner.controller.workers import pool  # noqa: PLC0415 - workers come by here too, and can spare it

    original = pool.worker_command
    pool.worker_command = lambda settings: [
        word.replace("model_provisioner.cli", module) for word in original(settings)
    ]
