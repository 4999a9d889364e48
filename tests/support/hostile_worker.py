"""A worker pod that a tenant has taken over. Run by tests as a module, in place of `model-provisioner`.

It keeps each line that it is asked, in the file `asked` of its claim. If the claim has a file `limited`, it answers
each fetch as if the source had limited it for an hour.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from model_provisioner import cli
from model_provisioner.worker_pod import command
from model_provisioner.worker_pod.requests import Requests
from model_provisioner.worker_processes.worker import Worker
from model_provisioner.worker_protocol.copies import DoorAddress
from model_provisioner.worker_protocol.forking import Role
from model_provisioner.worker_protocol.messages import Answer, FailedAnswer, Fetch, Task


class HostileRequests(Requests):
    """See the module."""

    def __init__(
        self, workers: Mapping[Role, Worker], directory: str, post: Callable[[Answer], None], door: DoorAddress | None
    ) -> None:
        super().__init__(workers, directory, post, door)
        self._claim = Path(directory)
        self._answer = post

    def on_line(self, line: bytes) -> None:
        with (self._claim / "asked").open("ab", buffering=0) as asked:
            asked.write(line)
        super().on_line(line)

    async def _carry_out(self, request: Task) -> None:
        if isinstance(request, Fetch) and (self._claim / "limited").exists():
            self._answer(FailedAnswer(request.id, "RateLimited", "slow down", 3600.0))
        else:
            await super()._carry_out(request)


if __name__ == "__main__":
    vars(command)["Requests"] = HostileRequests
    cli.run()
