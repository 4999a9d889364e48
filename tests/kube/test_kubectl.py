"""What the real kubectl makes of a ModelDownload: how it waits for one, and what it explains."""

import subprocess
from collections.abc import Callable

import pytest

from deploy.local import kubectl
from deploy.local.cluster import Cluster
from model_provisioner.kube import resource
from tests.support import prepared
from tests.support.goldens import Document, read_goldens

Kubectl = Callable[..., "subprocess.CompletedProcess[str]"]
TIME = "2026-01-01T00:00:00Z"
OBJECTS = read_goldens("cluster")


@pytest.fixture
def run(cluster: Cluster, namespace: str) -> Kubectl:
    program = prepared.found(kubectl.find_or_build, "set KUBEBUILDER_ASSETS to a directory with kubectl")
    general = [str(program), f"--kubeconfig={cluster.kubeconfig}", f"--namespace={namespace}"]

    def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([*general, *arguments], capture_output=True, text=True, check=False, timeout=60)

    return run


def conditions(status: Document) -> Document:
    """The part of a golden status that kubectl waits for. A golden has no times."""
    stated = [{**one, "lastTransitionTime": TIME} for one in status["conditions"]]
    return {"observedGeneration": status["observedGeneration"], "conditions": stated}


@pytest.mark.parametrize(("case", "met", "unmet"), [("ready", "Ready", "Stalled"), ("not-found", "Stalled", "Ready")])
def test_wait_ends_for_a_model_and_for_a_failure(
    cluster: Cluster, namespace: str, run: Kubectl, case: str, met: str, unmet: str
) -> None:
    """Of the two conditions, the one that a finished object has ends the wait at once, and the other one does not."""
    golden = OBJECTS[case]
    new = {"apiVersion": golden["apiVersion"], "kind": golden["kind"], "metadata": {"name": "model"}}
    cluster.api.create(resource.collection_path(namespace), {**new, "spec": golden["spec"]})
    status = {"status": conditions(golden["status"])}
    cluster.api.merge(f"{resource.object_path(namespace, 'model')}/status", status)
    ends = run("wait", "modeldownload/model", f"--for=condition={met}", "--timeout=30s")
    assert (ends.returncode, ends.stdout.strip()) == (0, "modeldownload.models.rbee.dev/model condition met"), ends
    goes_on = run("wait", "modeldownload/model", f"--for=condition={unmet}", "--timeout=1s")
    assert goes_on.returncode == 1
    assert "timed out waiting for the condition" in goes_on.stderr


def test_a_secret_is_named_without_a_namespace(run: Kubectl) -> None:
    explained = run("explain", "modeldownload.spec.credentialsSecretRef")
    fields = explained.stdout.partition("FIELDS:")[2]
    assert [line.split("\t")[0].strip() for line in fields.splitlines() if "<" in line] == ["name"], explained
