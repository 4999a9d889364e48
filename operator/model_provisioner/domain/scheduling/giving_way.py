"""When the worker pod of a claim, which has no work, makes way for a pod that waits for the claim. Pure.

A volume that one node or one pod can mount is kept from others by a worker pod that only waits for work.
`controller.workers.pods.giving_way` reads the pods; `controller.workers.pod_pool` ends the worker pod.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from model_provisioner.domain.store.claim import ONE_POD, is_on_one_node


@dataclass(frozen=True, slots=True)
class WaitingPod:
    """A pod that mounts the claim and has not started.

    `node` is None before the scheduler has chosen one. `is_held`: a scheduling gate keeps it from getting one.
    """

    name: str
    node: str | None = None
    is_held: bool = False
    is_ending: bool = False


def first_in_need(
    pods: Iterable[WaitingPod], access_modes: Collection[str], worker_node: str | None
) -> WaitingPod | None:
    """The pod for which the worker pod on `worker_node` ends; None if there is none.

    On the same node a ReadWriteOnce volume has room for both. While `worker_node` is not known (None), a pod that has a
    node waits for nothing that can be told.
    """
    if not is_on_one_node(access_modes):
        return None
    needy = (pod for pod in pods if not (pod.is_held or pod.is_ending))
    if ONE_POD not in access_modes:
        needy = (pod for pod in needy if pod.node is None or worker_node not in {None, pod.node})
    return min(needy, key=lambda pod: pod.name, default=None)
