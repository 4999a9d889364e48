"""The step with a real engine and a real model: waited for, provisioned, loaded and asked. Called by `steps`.

The model is in the cache of the tests (`tests.support.engines`). It is larger than all other models of the run, and is
removed at the end of its step, because the volume has no room for more.
"""

import time
from collections.abc import Callable
from pathlib import Path

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, Document, Failed, check, shell, until
from deploy.e2e.models import publish
from deploy.e2e.scene import Scene
from deploy.e2e.settings import Settings
from tests.support.engines import gemma, llama_server
from tests.support.engines.serving import COUNTING, Engine
from tests.support.installs import NotInstalled

POD = "engine"
GATE = "models.rbee.dev/model"


def provide(settings: Settings) -> str:
    """The image is on the nodes. Takes Debian's packages from the cache, or fetches them."""
    build = settings.engine_build
    if "{root}" in build:
        build = build.replace("{root}", str(_installed(llama_server.root)))
    for command in filter(None, (build, settings.engine_load)):
        shell(command)
    return settings.engine_image


def answers(scene: Scene) -> str:
    """A pod that is made before its model is held until the model is Ready. Then it starts by itself and serves it."""
    model = publish(scene.hub, "gemma", _installed(gemma.file))
    kubectl = scene.kubectl
    kubectl.apply(manifests.engine(scene.settings.engine_image, model.name))
    _check_held(scene, "without its ModelDownload")
    half = scene.hub.pause_at(model.size // 2, model.file)
    begun = time.monotonic()
    scene.ask_for(model)
    half.wait_reached(PATIENCE)
    _check_held(scene, "at half of the transfer")
    half.release()
    scene.until_ready(model)
    ready = time.monotonic()
    until(lambda: not _gates(_pod(scene)), "the gate of the pod is open")
    is_open = time.monotonic()
    kubectl("wait", f"pod/{POD}", "--for=condition=Ready", f"--timeout={PATIENCE:.0f}s", seconds=PATIENCE + 10)
    with kubectl.port_forward(f"pod/{POD}", 8080) as port:
        server = Engine(f"http://127.0.0.1:{port}")
        until(server.ready, "the server answers through the port-forward")
        text = server.complete(COUNTING, 8)
    answered = time.monotonic()
    check(text.startswith(" nine"), f"the server went on with {text!r}")
    kubectl("delete", "pod", POD)
    scene.remove(model)
    return (
        f"{model.size:,} bytes Ready after {ready - begun:.1f} s; seen after Ready: gate open {is_open - ready:.1f} s, "
        f"prompt answered {answered - ready:.1f} s; it went on with {text!r}"
    )


def _check_held(scene: Scene, when: str) -> None:
    """Raises Failed unless the pod has the gate alone, and is held back from the scheduler because of it."""
    pod = _pod(scene)
    conditions = pod.get("status", {}).get("conditions", [])
    reasons = [one.get("reason") for one in conditions if one["type"] == "PodScheduled"]
    check(_gates(pod) == [GATE], f"{when}, the pod has the gates {_gates(pod)}, not {GATE}")
    check(reasons == ["SchedulingGated"], f"{when}, the pod's condition PodScheduled has {reasons}")


def _pod(scene: Scene) -> Document:
    return scene.kubectl.get("pod", POD)


def _gates(pod: Document) -> list[str]:
    return [gate["name"] for gate in pod["spec"].get("schedulingGates", [])]


def _installed(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except NotInstalled as reason:
        raise Failed(str(reason)) from reason
