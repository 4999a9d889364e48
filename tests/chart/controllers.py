"""Stand-ins for the controllers and the kubelet that `helm uninstall` waits for. Called by the tests of the chart.

The control plane of the tests runs no pods. A Job's pod is created as an object, and its container's arguments run as a
real process with a token of the pod's account. A Deployment's pod is an object beside an operator that a test started.
"""

import copy
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deploy.local.api import Api, ApiError
from deploy.local.cluster import Cluster
from tests.chart.rendering import Manifest
from tests.support.programs import Program

_POLL_SECONDS = 0.1
_DONE = "2026-01-01T00:00:00Z"


def create_pod(api: Api, namespace: str, template: Manifest, name: str) -> str:
    """Creates the pod that a controller makes of `template`; returns its uid. Raises ApiError, as for Pod Security."""
    pod = copy.deepcopy(template)
    metadata = {**pod.get("metadata", {}), "name": name}
    created = api.create(f"/api/v1/namespaces/{namespace}/pods", {"metadata": metadata, "spec": pod["spec"]})
    return str(created["metadata"]["uid"])


def remove_pod(api: Api, namespace: str, name: str) -> None:
    api.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}", {"gracePeriodSeconds": 0})


class Jobs:
    """Runs the Jobs of `namespace`, each once. `outputs` has what their processes have written; `codes` how they ended.

    The log files are made in `directory`.
    """

    def __init__(self, cluster: Cluster, namespace: str, directory: Path) -> None:
        self.outputs: list[str] = []
        self.codes: list[int] = []
        self._cluster = cluster
        self._namespace = namespace
        self._directory = directory
        self._path = f"/apis/batch/v1/namespaces/{namespace}/jobs"
        self._seen: set[str] = set()

    def poll(self) -> None:
        """Runs the Jobs that are new."""
        for job in self._cluster.api.get(self._path)["items"]:
            if job["metadata"]["uid"] not in self._seen:
                self._seen.add(job["metadata"]["uid"])
                self._run(job)

    def _run(self, job: Manifest) -> None:
        api, template = self._cluster.api, job["spec"]["template"]
        name = f"{job['metadata']['name']}-{len(self._seen)}"
        uid = create_pod(api, self._namespace, template, name)
        (container,) = template["spec"]["containers"]
        account = template["spec"]["serviceAccountName"]
        kubeconfig = self._cluster.kubeconfig_for_service_account(self._namespace, account)
        log = self._directory / f"{name}.log"
        environment = {"POD_NAME": name, "POD_UID": uid}
        arguments = [self._mounted(one, template["spec"], container) for one in container["args"]]
        program = Program([*arguments, f"--kubeconfig={kubeconfig}"], log, environment)
        code = program.process.wait(job["spec"]["activeDeadlineSeconds"])
        self.codes.append(code)
        self.outputs.append(program.output())
        remove_pod(api, self._namespace, name)
        api.merge(f"{self._path}/{job['metadata']['name']}/status", {"status": _status(code)})

    def _mounted(self, argument: str, pod: Manifest, container: Manifest) -> str:
        """The argument with the path of a file here, if it has the path of one in a volume that is a ConfigMap."""
        names = {one["name"]: one["configMap"]["name"] for one in pod.get("volumes", ()) if "configMap" in one}
        for mount in container.get("volumeMounts", ()):
            if mount["name"] in names and mount["mountPath"] in argument:
                here = self._directory / names[mount["name"]]
                here.mkdir(exist_ok=True)
                path = f"/api/v1/namespaces/{self._namespace}/configmaps/{names[mount['name']]}"
                for name, text in self._cluster.api.get(path)["data"].items():
                    (here / name).write_text(text)
                return argument.replace(mount["mountPath"], str(here))
        return argument


def _status(code: int) -> dict[str, Any]:
    """The status that the Job controller writes at the end of a Job's only pod."""
    kinds = ("FailureTarget", "Failed") if code else ("SuccessCriteriaMet", "Complete")
    times = {"lastProbeTime": _DONE, "lastTransitionTime": _DONE}
    conditions = [{"type": kind, "status": "True", "reason": "Stand-in", **times} for kind in kinds]
    ended = {"failed": 1} if code else {"succeeded": 1, "completionTime": _DONE}
    return {"startTime": _DONE, "conditions": conditions, **ended}


class Deployed:
    """The pod of a Deployment, and the `operator` in it: both end when the Deployment is scaled to 0, or is gone."""

    def __init__(self, api: Api, namespace: str, deployment: str, pod: str, operator: Program) -> None:
        self.exit_code: int | None = None
        self._api = api
        self._namespace = namespace
        self._path = f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}"
        self._pod = pod
        self._operator = operator

    def poll(self) -> None:
        if self.exit_code is None and self._replicas() == 0:
            self.exit_code = self._operator.stop()
            remove_pod(self._api, self._namespace, self._pod)

    def _replicas(self) -> int:
        try:
            return int(self._api.get(self._path)["spec"]["replicas"])
        except ApiError as error:
            if error.code == 404:
                return 0
            raise


@contextmanager
def at_work(*polls: Callable[[], None]) -> Iterator[None]:
    """Calls `polls` again and again, each in a thread of its own, while the block runs.

    Raises the first of their errors at the end of the block.
    """
    over, errors = threading.Event(), list[BaseException]()

    def repeat(poll: Callable[[], None]) -> None:
        try:
            while not over.wait(_POLL_SECONDS):
                poll()
        except Exception as error:  # noqa: BLE001 - it is raised at the end of the block
            errors.append(error)

    threads = [threading.Thread(target=repeat, args=(poll,), daemon=True) for poll in polls]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join(60)
    if errors:
        raise errors[0]
