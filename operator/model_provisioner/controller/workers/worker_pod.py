"""A worker in a pod: called as a child process is, and trusted less.

Made by `pod_pool`. An answer that can't be one ends the pod (`pod_answers`); a pod that is cut off is waited for.
"""

from collections.abc import Awaitable, Callable

from model_provisioner.controller.workers.door.pod_answers import refusal
from model_provisioner.controller.workers.door.pod_process import PodProcess
from model_provisioner.domain.errors import ProvisionError, WorkerLost
from model_provisioner.worker_processes.child_process import WorkerProcess
from model_provisioner.worker_processes.process import Process
from model_provisioner.worker_protocol.messages import Answer, Request


class WorkerPod(WorkerProcess):
    """The worker of one claim. `launch` starts its pod, or returns the one that runs."""

    def __init__(self, launch: Callable[[], Awaitable[PodProcess]]) -> None:
        super().__init__(launch)

    def _is_cut_off(self, process: Process) -> bool:
        return isinstance(process, PodProcess) and process.is_cut_off

    def _refusal(self, request: Request, answer: Answer) -> str | None:
        return refusal(request, answer)

    def _on_unreadable(self, process: Process) -> None:
        self._bury(process, "wrote a line that is not an answer, and was ended")

    def _fault(self, what: str) -> ProvisionError:
        return WorkerLost(f"the worker pod {what}; what it had written is kept")

    def _error(self, process: Process) -> ProvisionError:
        if isinstance(process, PodProcess):
            if process.is_cut_off:
                return WorkerLost("the worker pod is cut off from the operator, and is waited for")
            if process.error:
                return process.error
        return WorkerLost("the worker pod has ended; what it had written is kept")
