"""The step that measures how long it takes from `kubectl apply` to the first byte of a model. Called by `steps`.

Each sample has a claim of its own, so that each has a pod of its own, which must be started first.
"""

import time
from statistics import median

from deploy.e2e import manifests
from deploy.e2e.commands import PATIENCE, until
from deploy.e2e.models import Model
from deploy.e2e.namespaces import Namespace
from deploy.e2e.scene import MIB, Scene

SAMPLES = 5
GOAL = 5.0  # seconds, with the image on the node
SIZE = 4 * MIB  # bytes, of each claim


def measured(scene: Scene) -> str:
    team = scene.teams[0]
    took = sorted(_sample(scene, team, f"sample-{number}") for number in range(1, SAMPLES + 1))
    middle = median(took)
    goal = f"{'within' if middle <= GOAL else 'more than'} the {GOAL:.0f} s wanted"
    return f"median {middle:.1f} s, {goal}; all: {', '.join(f'{one:.1f}' for one in took)} s"


def _sample(scene: Scene, team: Namespace, name: str) -> float:
    """Seconds from the start of kubectl to the first byte that the hub sends."""
    team.on_disk("mkdir", "--mode=0777", f"/disk/{name}")
    volume = manifests.persistent_volume(
        team.kubectl.get("pod", "disk"), scene.settings.kubelet_root, SIZE, claim=name, folder=name
    )
    team.kubectl.apply(volume, manifests.claim(name, SIZE))
    team.kubectl("wait", f"persistentvolumeclaim/{name}", "--for=jsonpath={.status.phase}=Bound", "--timeout=300s")
    model = scene.publish(name, MIB)
    begun = time.time()
    team.ask_for(model, destination={"claimName": name})
    took = until(lambda: _first_byte(scene, model), f"the hub has sent a byte of {name}", PATIENCE) - begun
    team.until_ready(model)
    return took


def _first_byte(scene: Scene, model: Model) -> float:
    """When the hub began to send the file, in seconds since the epoch; 0 if it has not."""
    sent = [one.time for one in scene.hub.log if one.origin == "content" and model.file in one.path and one.bytes_sent]
    return min(sent, default=0.0)
