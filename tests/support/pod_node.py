"""A Job controller, a scheduler, a garbage collector and a kubelet for the Jobs of a namespace, where there are none.

It makes a pod of each Job, so that the API server admits or refuses it as anywhere; runs its container's command as a
process, with a directory as the claim; and writes the statuses that the real ones write. Called by tests of worker
pods, which delete pods, and choose what goes wrong.
"""

import base64
import contextlib
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from deploy.local.api import Api, ApiError
from deploy.local.cluster import Cluster
from tests.support.programs import Program

Document = dict[str, Any]

_POLL_SECONDS = 0.1
_UNSCHEDULABLE = {
    "type": "PodScheduled",
    "status": "False",
    "reason": "Unschedulable",
    "message": "0/2 nodes are available: 2 node(s) didn't match Pod's node affinity/selector.",
}


class PodNode:
    """`claims` maps the names of claims to directories. `directory` takes Secrets and logs.

    `pending` is the status of pods that do not start; None lets them start. `nodes` are those that take pods.
    `module` is the program of the pods.
    """

    def __init__(self, cluster: Cluster, namespace: str, directory: Path, claims: dict[str, Path]) -> None:
        self.pending: Document | None = None
        self.nodes = ["node-1", "node-2"]
        self.module = "model_provisioner.cli"
        self.started: list[Program] = []
        self.jobs: set[str] = set()
        """The uids of all Jobs that were seen."""
        self._cluster = cluster
        self._api: Api = cluster.api
        self._namespace = namespace
        self._directory = directory
        self.claims = claims
        self._programs: dict[str, Program] = {}  # by the uid of the pod
        self._killed: dict[str, str] = {}  # why the kernel killed the process of a pod, by its uid
        self._lost: set[str] = set()  # the uids of pods whose node is gone
        self.refused: set[str] = set()
        """The uids of Jobs of which the API server refuses the pod; the Event tells why."""
        self._made: set[str] = set()
        self._acting = threading.Lock()  # a fault is one step of the node, too
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        for name in self.claims:
            self._create_missing(name)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._over.set()
        self._thread.join(30)
        for program in self._programs.values():
            if program.process.poll() is None:
                program.kill()
        assert not self.failures, self.failures[:3]

    @property
    def pods(self) -> list[Document]:
        """Those of Jobs."""
        found: list[Document] = self._api.get(self._path("pods"))["items"]
        return [pod for pod in found if "ownerReferences" in pod["metadata"]]

    @property
    def running(self) -> list[Program]:
        return [program for program in self.started if program.process.poll() is None]

    def create_claim(self, name: str, *modes: str, phase: str = "Bound", volume: str | None = None) -> None:
        """A claim as its user creates it, and the binder has it then. Any node can mount it unless `modes` say else.

        `volume` is the name of its PersistentVolume, by default `pv-` and the name of the claim if it is bound.
        """
        bound = volume or (f"pv-{name}" if phase == "Bound" else None)
        spec: Document = {"accessModes": modes or ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        spec |= {"volumeName": bound} if bound else {}
        self._api.create(self._path("persistentvolumeclaims"), {"metadata": {"name": name}, "spec": spec})
        self.bind_claim(name, phase)

    def _create_missing(self, name: str) -> None:
        try:
            self.create_claim(name)
        except ApiError as error:
            if error.code != 409:
                raise

    def bind_claim(self, name: str, phase: str = "Bound") -> None:
        self._api.merge(f"{self.claim_path(name)}/status", {"status": {"phase": phase}})

    def delete_claim(self, name: str) -> None:
        """As its user does; no pod uses it, so that its finalizer goes at once."""
        self._api.merge(self.claim_path(name), {"metadata": {"finalizers": None}})
        self._api.delete(self.claim_path(name))

    def claim_path(self, name: str) -> str:
        return f"{self._path('persistentvolumeclaims')}/{name}"

    def use_claim(
        self,
        name: str,
        pod: str,
        node: str | None,
        *,
        phase: str = "Running",
        labels: dict[str, str] | None = None,
        gate: str | None = None,
    ) -> None:
        """Lets a pod that uses a claim run on `node`, or wait for a node or a volume (`phase` Pending)."""
        security = {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}}
        container = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        spec = {
            **({"nodeName": node} if node else {}),
            **({"schedulingGates": [{"name": gate}]} if gate else {}),
            "securityContext": security,
            "containers": [{"name": "c", "image": "i", "securityContext": container}],
            "volumes": [{"name": "models", "persistentVolumeClaim": {"claimName": name}}],
        }
        self._api.create(self._path("pods"), {"metadata": {"name": pod, "labels": labels or {}}, "spec": spec})
        self._api.merge(f"{self._path('pods')}/{pod}/status", {"status": {"phase": phase}})

    def end_pod(self, name: str) -> None:
        self._api.request("DELETE", f"{self._path('pods')}/{name}", {"gracePeriodSeconds": 0})

    def output(self) -> str:
        return "".join(program.output() for program in self.started)

    def delete_pod(self) -> None:
        """As `kubectl delete pod` of the only one: it is told, and ends."""
        (pod,) = self.pods
        self._api.delete(f"{self._path('pods')}/{pod['metadata']['name']}")

    def crash(self, reason: str = "OOMKilled") -> None:
        """The kernel kills the only pod's process, and its kubelet says so."""
        (pod,) = self.pods
        uid = pod["metadata"]["uid"]
        self._killed[uid] = reason
        self._programs[uid].kill()

    def evict(self, message: str) -> None:
        """The kubelet ends the only pod because its node lacks something."""
        (pod,) = self.pods
        disrupted = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
        with self._acting:
            self._programs[pod["metadata"]["uid"]].kill()
            self._status(pod, {"phase": "Failed", "reason": "Evicted", "message": message, "conditions": [disrupted]})

    def lose_node(self) -> None:
        """The node of the only pod is gone. After a while the pod is deleted, and stays: no kubelet ends it."""
        (pod,) = self.pods
        conditions = [
            {"type": "Ready", "status": "False", "reason": "NodeNotReady", "message": "Node is not ready"},
            {
                "type": "DisruptionTarget",
                "status": "True",
                "reason": "DeletionByTaintManager",
                "message": "Taint manager: deleting due to NoExecute taint",
            },
        ]
        with self._acting:
            self._lost.add(pod["metadata"]["uid"])
            self._programs[pod["metadata"]["uid"]].kill()
            self._status(pod, {"conditions": conditions})
            self._api.delete(f"{self._path('pods')}/{pod['metadata']['name']}")

    def remove_lost(self) -> None:
        """The pods of a node that is deleted go, by the garbage collector of pods."""
        for pod in self.pods:
            if pod["metadata"]["uid"] in self._lost:
                self.end_pod(pod["metadata"]["name"])

    def _run(self) -> None:
        while not self._over.is_set():
            try:
                with self._acting:
                    self._step()
            except ApiError as error:
                if error.code not in {404, 409} and "being terminated" not in str(error):
                    self.failures.append(error)
            except Exception as error:  # noqa: BLE001 -- the test must see it
                self.failures.append(error)
            time.sleep(_POLL_SECONDS)

    def _step(self) -> None:
        jobs = {job["metadata"]["uid"]: job for job in self._api.get(self._jobs)["items"]}
        self.jobs.update(jobs)
        pods = {_owner(pod): pod for pod in self.pods}
        for uid, job in jobs.items():
            if uid in pods or _is_over(job):
                continue
            if uid in self._made:
                self._finish(job, "Failed")
            elif uid not in self.refused:
                self._make_pod(job)
        for owner, pod in pods.items():
            with contextlib.suppress(ApiError):
                self._keep(pod, jobs.get(owner))
        self._collect(jobs)

    def _make_pod(self, job: Document) -> None:
        template, name = job["spec"]["template"], job["metadata"]["name"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": job["metadata"]["uid"]}
        metadata = {
            "name": f"{name}-{uuid.uuid4().hex[:5]}",
            "labels": template["metadata"]["labels"],
            "annotations": template["metadata"].get("annotations") or {},
            "ownerReferences": [{**owner, "controller": True}],
        }
        try:
            wanted = _wanted_node(template["spec"]) or self.nodes[0]
            scheduled = {"nodeName": wanted} if wanted in self.nodes else {}
            pod = self._api.create(
                self._path("pods"), {"metadata": metadata, "spec": {**template["spec"], **scheduled}}
            )
            self._made.add(job["metadata"]["uid"])
            if not scheduled:
                self._status(pod, {"conditions": [_UNSCHEDULABLE]})
        except ApiError as error:
            self._refuse(job, f"Error creating: {error}")
            self.refused.add(job["metadata"]["uid"])

    def _refuse(self, job: Document, message: str) -> None:
        """The Event of the Job controller."""
        metadata = job["metadata"]
        about = {"kind": "Job", "apiVersion": "batch/v1", "name": metadata["name"], "uid": metadata["uid"]}
        event = {
            "metadata": {"generateName": "refused-"},
            "involvedObject": {**about, "namespace": self._namespace},
            "type": "Warning",
            "reason": "FailedCreate",
            "message": message,
            "source": {"component": "job-controller"},
        }
        self._api.create(self._path("events"), event)

    def _keep(self, pod: Document, job: Document | None) -> None:
        uid, phase = pod["metadata"]["uid"], pod["status"].get("phase")
        if uid in self._lost:
            return
        program = self._programs.get(uid)
        if job is None or "deletionTimestamp" in pod["metadata"]:
            self._stop(pod, program)
            if job is not None:
                self._finish(job, "Failed")
        elif program is None and phase == "Pending" and pod["spec"].get("nodeName"):
            self._start(pod)
        elif program and program.process.poll() is not None and phase == "Running":
            code = program.process.returncode
            reason = self._killed.get(uid, "Error") if code else "Completed"
            self._end(pod, {"exitCode": code if code >= 0 else 128 - code, "reason": reason})
            self._finish(job, "Failed" if code else "Complete")

    def _start(self, pod: Document) -> None:
        if self.pending is not None:
            self._status(pod, self.pending)
            return
        spec, uid = pod["spec"], pod["metadata"]["uid"]
        volumes = {volume["name"]: volume for volume in spec["volumes"]}
        claim = volumes["models"]["persistentVolumeClaim"]["claimName"]
        secret = self._secret(volumes["worker"]["secret"]["secretName"])
        if secret is None or claim not in self.claims:
            return  # the kubelet tries again
        arguments = list(spec["containers"][0]["args"])
        arguments = [f"--secret={secret}" if word.startswith("--secret=") else word for word in arguments]
        arguments = [word.replace("/etc/model-provisioner/worker/", f"{secret}/") for word in arguments]
        arguments = [f"--directory={self.claims[claim]}" if "--directory=" in word else word for word in arguments]
        program = Program(arguments, self._directory / f"pod-{uid}.log", module=self.module)
        self._programs[uid] = program
        self.started.append(program)
        self._status(pod, {"phase": "Running", "startTime": _now()})

    def _secret(self, name: str) -> Path | None:
        try:
            document = self._api.get(f"{self._path('secrets')}/{name}")
        except ApiError:
            return None
        directory = self._directory / f"secret-{document['metadata']['uid']}"
        directory.mkdir(exist_ok=True)
        for key, value in document["data"].items():
            (directory / key).write_bytes(base64.b64decode(value))
        return directory

    def _stop(self, pod: Document, program: Program | None) -> None:
        if program and program.process.poll() is None:
            program.stop()
        self._api.request("DELETE", f"{self._path('pods')}/{pod['metadata']['name']}", {"gracePeriodSeconds": 0})

    def _end(self, pod: Document, terminated: Document) -> None:
        state = {"name": "worker", "state": {"terminated": {**terminated, "finishedAt": _now()}}}
        container = {**state, "image": "i", "imageID": "", "ready": False, "restartCount": 0}
        phase = "Failed" if terminated["exitCode"] else "Succeeded"
        self._status(pod, {"phase": phase, "containerStatuses": [container]})

    def _status(self, pod: Document, status: Document) -> None:
        self._api.merge(f"{self._path('pods')}/{pod['metadata']['name']}/status", {"status": status})

    def _finish(self, job: Document, kind: str) -> None:
        if _is_over(job):
            return
        first = "FailureTarget" if kind == "Failed" else "SuccessCriteriaMet"
        conditions = [{"type": name, "status": "True", "reason": "BackoffLimitExceeded"} for name in (first, kind)]
        status: Document = {"conditions": conditions, "startTime": _now()}
        if kind == "Complete":
            status["completionTime"] = _now()
        self._api.merge(f"{self._jobs}/{job['metadata']['name']}/status", {"status": status})

    def _collect(self, jobs: dict[str, Document]) -> None:
        """The Secrets of Jobs that are gone go, too."""
        for secret in self._api.get(self._path("secrets"))["items"]:
            owners = secret["metadata"].get("ownerReferences") or []
            if owners and all(owner["uid"] in self.jobs and owner["uid"] not in jobs for owner in owners):
                self._api.delete(f"{self._path('secrets')}/{secret['metadata']['name']}")

    def _path(self, resource: str) -> str:
        return f"/api/v1/namespaces/{self._namespace}/{resource}"

    @property
    def _jobs(self) -> str:
        return f"/apis/batch/v1/namespaces/{self._namespace}/jobs"


def _wanted_node(spec: Document) -> str | None:
    """The node that the affinity of a pod names."""
    required = spec.get("affinity", {}).get("nodeAffinity", {}).get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return None
    (term,) = required["nodeSelectorTerms"]
    (node,) = term["matchFields"][0]["values"]
    return str(node)


def _owner(pod: Document) -> str:
    return str(pod["metadata"]["ownerReferences"][0]["uid"])


def _is_over(job: Document) -> bool:
    conditions = job.get("status", {}).get("conditions") or []
    return any(one["type"] in {"Complete", "Failed"} for one in conditions)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
