"""How long a new operator's pod takes to go on with a download, after the old pod was lost, on a real node.

Installs the chart with the image `--image` on the cluster of KUBECONFIG, serves a model from a hub at `--host`, an
address of this machine that pods reach, and stops the old operator's processes as a lost node does, before
`kubectl delete pod --force`. Prints the times of each round; exits with 1 if a first byte comes later than
`BOUND_SECONDS`. It needs kubectl and root: the processes of the pod are those of this machine. Everything it creates is
in one namespace, which it deletes at its end.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from deploy.local.helm import find_or_build
from tests.support.ggufs import write_gguf
from tests.support.hub import Hub

BOUND_SECONDS = 10
SIZE = 512 * 1024**2
RATE = 4 * 1024**2  # bytes per second of the hub: the download outlives both pods
CHART = Path(__file__).parent.parent
VOLUME = """
apiVersion: v1
kind: PersistentVolume
metadata: {{name: {namespace}}}
spec:
  capacity: {{storage: 10Gi}}
  accessModes: [ReadWriteOnce]
  storageClassName: ""
  claimRef: {{name: models, namespace: {namespace}}}
  hostPath: {{path: {path}}}
"""
MODEL = """
apiVersion: models.rbee.dev/v1alpha1
kind: ModelDownload
metadata: {name: large}
spec: {modelRef: "hf:acme/large"}
"""


class Node:
    """The cluster of KUBECONFIG, seen through kubectl; all calls are in `namespace`."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace

    def run(self, *arguments: str, text: str | None = None) -> str:
        command = ["kubectl", "--namespace", self.namespace, *arguments]
        return subprocess.run(command, input=text, text=True, check=True, stdout=subprocess.PIPE).stdout

    def pod(self) -> dict[str, Any] | None:
        """The newest pod of the operator; None if there is none."""
        items = json.loads(self.run("get", "pods", "--output=json"))["items"]
        return max(items, key=lambda item: item["metadata"]["creationTimestamp"], default=None)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image", default="model-provisioner:dev", help="REPOSITORY:TAG that the node has")
    parser.add_argument("--host", required=True, help="address of this machine that pods reach")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, Hub(host=options.host) as hub:
        path = Path(directory)
        path.chmod(0o755)  # the pod's user walks through it
        hub.repository("acme/large").add("l.Q4_K_M.gguf", write_gguf(path / "l.gguf", size=SIZE))
        hub.bytes_per_second(RATE)
        node = Node("succession")
        try:
            _install(node, hub, path, options.image)
            later = [_round(node, hub, number) for number in range(1, options.rounds + 1)]
        finally:
            _remove(node)
    print(f"new pod's start to first byte, median of {len(later)}: {sorted(later)[len(later) // 2]:.1f} s")
    return 0 if max(later) <= BOUND_SECONDS else 1


def _install(node: Node, hub: Hub, path: Path, image: str) -> None:
    models = path / "models"
    models.mkdir()
    os.chown(models, 10001, 10001)
    node.run("create", "namespace", node.namespace)
    node.run("apply", "-f", "-", text=VOLUME.format(namespace=node.namespace, path=models))
    node.run("create", "secret", "generic", "hub-ca", f"--from-file=ca.crt={hub.ca_file}")
    repository, _, tag = image.rpartition(":")
    hosts = [hub.host_port, hub.content_origin.partition("://")[2]]
    values = {
        "image": {"repository": repository, "tag": tag, "pullPolicy": "Never"},
        "endpoint": hub.endpoint,
        "allowedHosts": hosts,
        "caSecret": {"name": "hub-ca"},
        "persistence": {"storageClassName": "", "size": "10Gi"},
    }
    helm = [str(find_or_build()), "upgrade", "--install", "mp", str(CHART), "--wait", "--timeout=120s", "--values=-"]
    subprocess.run([*helm, f"--namespace={node.namespace}"], input=json.dumps(values), text=True, check=True)
    node.run("apply", "-f", "-", text=MODEL)
    _until(lambda: hub.bytes_sent() > 0, "the first download begins")


def _round(node: Node, hub: Hub, number: int) -> float:
    """Loses the pod; returns the seconds from the start of its successor's container to the first byte."""
    time.sleep(8)  # bytes flow and a checkpoint is written
    old = node.pod()
    assert old
    for process in _processes(old["metadata"]["uid"]):
        os.kill(process, signal.SIGSTOP)
    time.sleep(1)  # what the hub had sent to the stopped processes has arrived
    hub.clear_log()
    lost = time.time()
    name = old["metadata"]["name"]
    node.run("delete", "pod", name, "--force", "--grace-period=0", "--wait=false")
    _until(lambda: _begun(hub, lost) is not None, "the successor gets bytes")
    begun, started = _begun(hub, lost), _started(node)
    assert begun
    print(
        f"round {number}: pod deleted → container started {started - lost:.1f} s (in whole seconds of the clock), "
        f"container started → first byte {begun - started:.1f} s, deleted → first byte {begun - lost:.1f} s"
    )
    return begun - started


def _processes(pod_uid: str) -> list[int]:
    """The processes of this machine that belong to the pod, by their cgroup."""
    found = []
    for group in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            text = group.read_text()
        except OSError:
            continue  # it has ended
        if pod_uid in text or pod_uid.replace("-", "_") in text:
            found.append(int(group.parent.name))
    return found


def _begun(hub: Hub, since: float) -> float | None:
    """When the first content request after `since` had arrived that was answered with bytes."""
    times = [one.time for one in hub.log if one.origin == "content" and one.time > since and one.bytes_sent]
    return min(times, default=None)


def _started(node: Node) -> float:
    pod = node.pod()
    assert pod
    (state,) = [one["state"] for one in pod["status"]["containerStatuses"] if one["name"] == "operator"]
    return datetime.fromisoformat(state["running"]["startedAt"]).timestamp()


def _until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(0.1)


def _remove(node: Node) -> None:
    node.run("delete", "modeldownloads", "--all", "--timeout=60s")
    node.run("delete", "namespace", node.namespace, "--timeout=60s")
    node.run("delete", "persistentvolume", node.namespace)


if __name__ == "__main__":
    sys.exit(main())
