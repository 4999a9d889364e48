"""The step with a real engine and a real model: provisioned, loaded and asked. Called by `steps`.

The model is in the cache of the tests (`tests.support.engines`). It is larger than all other models of the run, and is
removed at the end of its step, because the volume has no room for more.
"""

import time
from collections.abc import Callable
from pathlib import Path

from deploy.e2e import manifests
from deploy.e2e.commands import Failed, check, shell, until
from deploy.e2e.scene import Scene
from deploy.e2e.settings import Settings
from tests.support.engines import gemma, llama_server
from tests.support.engines.serving import COUNTING, Engine
from tests.support.installs import NotInstalled

POD = "engine"


def provide(settings: Settings) -> str:
    """The image is on the nodes. Takes Debian's packages from the cache, or fetches them."""
    build = settings.engine_build
    if "{root}" in build:
        build = build.replace("{root}", str(_installed(llama_server.root)))
    for command in filter(None, (build, settings.engine_load)):
        shell(command)
    return settings.engine_image


def answers(scene: Scene) -> str:
    """A pod that is made before its model serves it as soon as it is provisioned."""
    model = scene.publish_file("gemma", _installed(gemma.file))
    kubectl = scene.kubectl
    kubectl.apply(manifests.engine(scene.settings.engine_image, model.name))
    begun = time.monotonic()
    scene.ask_for(model)
    scene.until_ready(model)
    ready = time.monotonic() - begun
    kubectl("wait", f"pod/{POD}", "--for=condition=Ready", "--timeout=240s", seconds=250)
    serves = time.monotonic() - begun
    with kubectl.port_forward(f"pod/{POD}", 8080) as port:
        server = Engine(f"http://127.0.0.1:{port}")
        until(server.ready, "the server answers through the port-forward", 60)
        text = server.complete(COUNTING, 8)
    check(text.startswith(" nine"), f"the server went on with {text!r}")
    kubectl("delete", "pod", POD)
    scene.remove(model)
    return f"{model.size:,} bytes Ready after {ready:.1f} s, served after {serves:.1f} s; it went on with {text!r}"


def _installed(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except NotInstalled as reason:
        raise Failed(str(reason)) from reason
