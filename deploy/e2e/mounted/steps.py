"""What is done on the cluster, in this order, and what has to come of it. Called by `__main__`.

A step raises Failed if the cluster does something else. It returns what it measured, in a few words.
"""

import time
from collections.abc import Callable
from functools import partial

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, check, shell, until
from deploy.e2e.interruptions import interrupted
from deploy.e2e.manifests import DEFINITION
from deploy.e2e.models import Model
from deploy.e2e.mounted import engine, page
from deploy.e2e.report import Step
from deploy.e2e.scene import MIB, RELEASE, Scene

DISK_BYTES = 384 * MIB
IMAGE_LIMIT = 300  # MB, unpacked
TWICE_LIMIT = 8 * MIB  # bytes; what was in flight when the pod ended

UNPACKED = """
import os
image = os.stat("/").st_dev
sizes = {}
for place, directories, files in os.walk("/"):
    directories[:] = [one for one in directories if os.lstat(os.path.join(place, one)).st_dev == image]
    for found in (os.lstat(os.path.join(place, one)) for one in files):
        sizes[found.st_dev, found.st_ino] = found.st_size
print(sum(sizes.values()))
"""
"""A program that prints the bytes of the container's files, without mounts; a file with two names counts once."""


def steps(scene: Scene) -> list[Step]:
    tiny = scene.publish("tiny", MIB)
    table: list[tuple[str, Callable[[], str]]] = [
        ("build the image", partial(in_shell, scene.settings.build)),
        ("bring the image to the nodes", partial(in_shell, scene.settings.load)),
        ("a restricted namespace, and a volume of a fixed size", partial(prepare, scene)),
        ("helm install", partial(install, scene)),
        ("a worker waits for a model that is not there", partial(worker_waits, scene, tiny)),
        ("a ModelDownload becomes Ready", partial(becomes_ready, scene, tiny)),
        ("the worker starts by itself and reads the header", partial(worker_reads, scene, tiny)),
        ("build and load the image of llama.cpp's server", partial(engine.provide, scene.settings)),
        (
            "a pod with an annotation waits for its model, and llama.cpp answers a prompt from it",
            partial(engine.answers, scene),
        ),
        ("page and event stream through a port-forward", partial(watched, scene)),
        ("the pod is deleted at half of a transfer", partial(pod_deleted, scene)),
        ("the Secret gets a token that the hub accepts", partial(token_replaced, scene)),
        ("the disk is full, and later is not", partial(disk_full, scene)),
        ("helm upgrade during a transfer", partial(upgraded, scene)),
        ("helm uninstall", partial(uninstalled, scene, tiny)),
        ("the namespace is deleted", partial(namespace_deleted, scene)),
    ]
    return table


def in_shell(command: str) -> str:
    if not command:
        return "left out"
    shell(command)
    return ""


def prepare(scene: Scene) -> str:
    scene.make()
    node = scene.make_volume(scene.settings.image, scene.settings.kubelet_root, DISK_BYTES)
    unpacked = int(scene.on_disk("python", "-c", UNPACKED)) / 1e6
    check(unpacked <= IMAGE_LIMIT, f"the image has {unpacked:.0f} MB unpacked, more than {IMAGE_LIMIT}")
    return f"{DISK_BYTES // MIB} MiB on node {node}; the image has {unpacked:.0f} MB unpacked"


def install(scene: Scene) -> str:
    """With the volume, and with what the annotation of the engine's pod needs."""
    volume = {"storageClassName": "", "size": str(DISK_BYTES)}
    return scene.install({"persistence": volume, "gates": {"enabled": True}, "injection": {"enabled": True}})


def worker_waits(scene: Scene, model: Model) -> str:
    scene.kubectl.apply(manifests.worker(scene.settings.image, model.name))
    until(lambda: waits_for_key(scene), "the worker waits for its key")
    return ""


def waits_for_key(scene: Scene) -> bool:
    containers = scene.kubectl.get("pod", "worker").get("status", {}).get("containerStatuses", [])
    return any(one["state"].get("waiting", {}).get("reason") == "CreateContainerConfigError" for one in containers)


def becomes_ready(scene: Scene, model: Model) -> str:
    scene.ask_for(model)
    scene.kubectl(
        "wait",
        f"{DEFINITION}/{model.name}",
        "--for=condition=Ready",
        f"--timeout={PATIENCE:.0f}s",
        seconds=PATIENCE + 10,
    )
    scene.check_on_disk(model)
    return "its digest on the volume is the hub's"


def worker_reads(scene: Scene, model: Model) -> str:
    begun = time.monotonic()
    until(lambda: scene.kubectl.get("pod", "worker")["status"]["phase"] == "Succeeded", "the worker has ended")
    said = scene.kubectl("logs", "worker").strip()
    check(said == f"GGUF /models/{model.path}", f"the worker said {said!r}")
    return f"it had ended after {time.monotonic() - begun:.1f} s more; it said {said!r}"


def watched(scene: Scene) -> str:
    model = scene.publish("watched", 32 * MIB)
    kubectl = scene.kubectl
    kubectl("create", "serviceaccount", "viewer")
    account = f"--serviceaccount={scene.namespace}:viewer"
    kubectl("create", "rolebinding", "viewer", "--clusterrole=view", account)
    token = kubectl("create", "token", "viewer").strip()
    half = scene.hub.pause_at(model.size // 2, model.file)
    with (
        kubectl.port_forward(f"service/{RELEASE}", 8081) as port,
        page.browser_at(f"http://127.0.0.1:{port}", token, scene.directory / "profile") as browser,
    ):
        scene.ask_for(model)
        seen = page.follow(page.events(port, token, scene.namespace), model.name, browser, half)
    scene.remove(model)
    return f"{len(seen)} events; {'seen in Chromium' if browser else 'there is no browser: not looked at'}"


def pod_deleted(scene: Scene) -> str:
    return interrupted(scene, scene, scene.publish("interrupted", 96 * MIB), TWICE_LIMIT, lambda: end_pod(scene))


def end_pod(scene: Scene) -> None:
    scene.kubectl("delete", "pod", scene.operator_pod()["metadata"]["name"])
    scene.until_rolled_out()


def token_replaced(scene: Scene) -> str:
    model = scene.publish("private", MIB, private=True, tokens=frozenset({"hf_after"}))
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "hub-token"}}
    scene.kubectl.apply({**secret, "stringData": {"token": "hf_before"}})
    scene.ask_for(model, credentialsSecretRef={"name": "hub-token"})
    scene.until_reason(model, "AccessDenied")
    scene.kubectl.apply({**secret, "stringData": {"token": "hf_after"}})
    begun = time.monotonic()
    scene.until_ready(model)
    took = time.monotonic() - begun
    scene.check_on_disk(model)
    scene.remove(model)
    return f"Ready {took:.0f} s after the Secret was changed"


def disk_full(scene: Scene) -> str:
    model = scene.publish("large", 64 * MIB)
    scene.on_disk("fallocate", "--length", str(DISK_BYTES - 32 * MIB), "/disk/ballast")
    scene.ask_for(model)
    found = scene.until_reason(model, "InsufficientStorage")
    message = next(one["message"] for one in found["status"]["conditions"] if one["type"] == "Ready")
    scene.on_disk("rm", "/disk/ballast")
    scene.until_ready(model, 2 * PATIENCE)
    scene.check_on_disk(model)
    scene.remove(model)
    return f"it said {message!r}"


def upgraded(scene: Scene) -> str:
    return interrupted(scene, scene, scene.publish("upgraded", 64 * MIB), TWICE_LIMIT, lambda: upgrade(scene))


def upgrade(scene: Scene) -> None:
    scene.helm("upgrade", RELEASE, ".", "--reset-then-reuse-values", "--set", "slots=3")
    scene.until_rolled_out()
    arguments = [one for container in scene.operator_pod()["spec"]["containers"] for one in container["args"]]
    check("--slots=3" in arguments, f"the pod has other arguments: {arguments}")


def uninstalled(scene: Scene, model: Model) -> str:
    scene.helm("uninstall", RELEASE)
    kubectl = scene.kubectl
    left = {item["metadata"]["name"]: item["metadata"].get("finalizers", []) for item in kubectl.items(DEFINITION)}
    check(left == {model.name: []}, f"the objects and their finalizers are {left}")
    check(kubectl.get("persistentvolumeclaim", "models"), "the claim is gone")
    check(kubectl.get("configmap", "model-catalog"), "the catalog is gone")
    until(lambda: not scene.operator_pod(), "the operator's pod is being deleted")
    scene.check_on_disk(model)
    return "the object without finalizers, the definition, the claim, the catalog and the file are still there"


def namespace_deleted(scene: Scene) -> str:
    begun = time.monotonic()
    scene.kubectl("delete", "namespace", scene.namespace)
    return f"{time.monotonic() - begun:.1f} s"
