"""Objects with a template of pods, and the pods that their controllers create from it.

No controller runs in the tests, so these pods have what each controller adds, as its source says: ReplicaSet,
StatefulSet, DaemonSet and Job of Kubernetes, the predictor of KServe, and the pods of LeaderWorkerSet.
"""

import copy
from dataclasses import dataclass

from deploy.local.api import Document
from tests.chart.injection.pods import container, pod


def template(use: str = "tinyllama", annotations: dict[str, str] | None = None) -> Document:
    """A template with the annotation, and others as for `pod`."""
    made = pod(use, annotations=annotations)
    return {
        "metadata": {"labels": {"app": "tiny"}, "annotations": made["metadata"]["annotations"]},
        "spec": made["spec"],
    }


def workload(kind: str, name: str, pods: Document) -> Document:
    """A Deployment, StatefulSet, DaemonSet, Job or CronJob with this template."""
    group, once = (
        ("apps/v1", {})
        if kind in {"Deployment", "StatefulSet", "DaemonSet"}
        else ("batch/v1", {"restartPolicy": "Never"})
    )
    made = copy.deepcopy(pods)
    made["spec"] |= once
    spec: Document = {"template": made}
    if not once:
        spec["selector"] = {"matchLabels": {"app": "tiny"}}
    if kind == "CronJob":
        spec = {"schedule": "0 3 * * *", "jobTemplate": {"spec": spec}}
    return {"apiVersion": group, "kind": kind, "metadata": {"name": name}, "spec": spec}


@dataclass(frozen=True)
class Created:
    """A pod as a controller creates it. `servers` are the containers that get the model, `others` those that do not."""

    pod: Document
    servers: tuple[str, ...] = ("server",)
    others: tuple[str, ...] = ()


def created() -> dict[str, Created]:
    """The pods, by what creates them."""
    return {
        "Deployment": Created(_of("ReplicaSet", {"pod-template-hash": "5d9c7b6f4"})),
        "StatefulSet": Created(_of_stateful_set()),
        "DaemonSet": Created(_of_daemon_set()),
        "Job": Created(_of_job()),
        "KServe": Created(_of_kserve(), ("kserve-container",)),
        "KServe with Knative": Created(_of_knative(), ("kserve-container",), ("queue-proxy",)),
        "LeaderWorkerSet, leader": Created(_of_leader_worker_set(0)),
        "LeaderWorkerSet, worker": Created(_of_leader_worker_set(1)),
    }


def _of(owner: str, labels: dict[str, str]) -> Document:
    made = template()
    uid = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"
    reference = {"apiVersion": "apps/v1", "kind": owner, "name": "tiny", "uid": uid, "controller": True}
    made["metadata"] |= {"generateName": "tiny-", "ownerReferences": [reference | {"blockOwnerDeletion": True}]}
    made["metadata"]["labels"] |= labels
    return made


def _of_stateful_set(name: str = "tiny-0") -> Document:
    made = _of("StatefulSet", {"statefulset.kubernetes.io/pod-name": name, "apps.kubernetes.io/pod-index": "0"})
    made["metadata"]["name"] = name
    claim = {"name": "cache", "persistentVolumeClaim": {"claimName": f"cache-{name}"}}
    made["spec"] |= {"hostname": name, "subdomain": "tiny", "volumes": [claim]}
    return made


def _of_daemon_set() -> Document:
    """The controller names the node by affinity, and the scheduler binds the pod: a gate holds it too."""
    made = _of("DaemonSet", {"controller-revision-hash": "7d9c7b6f4"})
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-1"]}]}
    required = {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}
    made["spec"]["affinity"] = {"nodeAffinity": required}
    return made


def _of_job() -> Document:
    made = _of("Job", {"batch.kubernetes.io/job-name": "tiny", "batch.kubernetes.io/job-completion-index": "2"})
    made["metadata"]["annotations"]["batch.kubernetes.io/job-completion-index"] = "2"
    made["metadata"]["finalizers"] = ["batch.kubernetes.io/job-tracking"]
    path = "metadata.labels['batch.kubernetes.io/job-completion-index']"
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}
    made["spec"] |= {"restartPolicy": "Never", "containers": [container(env=[variable])]}
    return made


def _of_kserve() -> Document:
    """Annotations of the InferenceService and of its predictor are those of the pod."""
    made = _of("ReplicaSet", {"serving.kserve.io/inferenceservice": "tiny", "component": "predictor"})
    made["metadata"]["annotations"]["serving.kserve.io/deploymentMode"] = "RawDeployment"
    args = ["--host", "0.0.0.0", "--model", "$(MODEL_PATH)"]
    made["spec"]["containers"] = [container("kserve-container", args=args)]
    return made


def _of_knative() -> Document:
    made = _of_kserve()
    made["metadata"]["annotations"]["models.rbee.dev/containers"] = "kserve-container"
    made["spec"]["containers"].append(container("queue-proxy"))
    return made


def _of_leader_worker_set(index: int) -> Document:
    """A pod of a StatefulSet; the annotations of the set of pods are added to those of the template."""
    name = "tiny-0" if index == 0 else f"tiny-0-{index}"
    made = _of_stateful_set(name)
    made["metadata"]["labels"]["leaderworkerset.sigs.k8s.io/worker-index"] = str(index)
    own = {"leaderworkerset.sigs.k8s.io/size": "2", "leaderworkerset.sigs.k8s.io/leader-name": "tiny-0"}
    made["metadata"]["annotations"] |= own
    return made
