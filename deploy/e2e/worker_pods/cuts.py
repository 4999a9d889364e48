"""Steps in which something ends at half of a transfer by a worker pod. Called by `steps`."""

import time
from collections.abc import Callable

from deploy.e2e.commands import Failed, check, shell, until
from deploy.e2e.interruptions import interrupted
from deploy.e2e.models import Model
from deploy.e2e.namespaces import Namespace
from deploy.e2e.scene import MIB, Scene
from deploy.e2e.worker_pods import jobs

TWICE_LIMIT = 16 * MIB  # bytes; what was in flight when the pod or the operator ended


def pod_deleted(scene: Scene) -> str:
    """The transfer goes on in the next pod."""
    team = scene.teams[0]

    def delete() -> str:
        before = jobs.running_pod(team)
        begun = time.monotonic()
        team.kubectl("delete", "pod", str(jobs.pod(team)["metadata"]["name"]))
        gone = time.monotonic() - begun
        jobs.running_pod(team, other_than=before)
        return f"the pod was gone after {gone:.1f} s, the next one ran after {time.monotonic() - begun:.1f} s"

    return interrupted(scene, team, scene.publish("pod-deleted", 96 * MIB), TWICE_LIMIT, delete)


def operator_replaced(scene: Scene) -> str:
    def replace() -> None:
        scene.kubectl("delete", "pod", scene.operator_pod()["metadata"]["name"])
        scene.until_rolled_out()

    return kept(scene, scene.publish("operator-replaced", 64 * MIB), replace)


def kubelet_restarted(scene: Scene) -> str:
    command, team = scene.settings.kubelet_restart, scene.teams[0]
    if not command:
        return "not run: KUBELET_RESTART names no command that restarts the kubelet of this cluster's node"

    def restart() -> None:
        shell(command)
        until(lambda: _kubelet_answers(team), "the kubelet answers")

    return kept(scene, scene.publish("kubelet-restarted", 32 * MIB), restart)


def kept(scene: Scene, model: Model, disturb: Callable[[], None]) -> str:
    """The worker pod goes on with the transfer of `model`, whatever `disturb` does at half of it."""
    team, worker = scene.teams[0], _Kept(scene.teams[0])

    def interrupt() -> None:
        worker.note()
        disturb()

    said = interrupted(scene, team, model, TWICE_LIMIT, interrupt)
    worker.check()
    return f"{said}; by the same pod of the same Job"


class _Kept:
    """A worker pod that must be there before and after."""

    def __init__(self, team: Namespace) -> None:
        self._team = team
        self._before = ("", "")

    def note(self) -> None:
        uid = jobs.running_pod(self._team)
        self._before = (str(jobs.job(self._team)["metadata"]["uid"]), uid)

    def check(self) -> None:
        """Raises Failed if the pod is another one, or its container was started anew."""
        job, pod = jobs.job(self._team), jobs.pod(self._team)
        now = (job.get("metadata", {}).get("uid"), pod.get("metadata", {}).get("uid"))
        check(now == self._before, f"the uids of the Job and the pod were {self._before}, and are {now}")
        restarts = [one["restartCount"] for one in pod["status"]["containerStatuses"]]
        check(restarts == [0], f"the container of the worker pod was started anew: {restarts}")


def _kubelet_answers(team: Namespace) -> bool:
    try:
        team.on_disk("true")
    except Failed:
        return False
    return True
