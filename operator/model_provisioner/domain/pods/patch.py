"""Makes the one patch that opens the gate of a pod.

Called by `controller.gates.pod_writer`. The patch removes our gate and no other, tells the containers where their
models are, and requires a node if the volume is on one. It tests what the decision was made from, and no
resourceVersion: the scheduler writes the status of a new pod at the same moment, and both writes must succeed.
"""

from model_provisioner.domain.annotations import GATE, MODEL_NAME, MODEL_PATH, MODEL_PROJECTOR
from model_provisioner.domain.pods.affinity import Operation, narrowing
from model_provisioner.domain.pods.decision import Opening
from model_provisioner.domain.pods.gated_pod import GatedPod


def opening_patch(pod: GatedPod, opening: Opening, node: str | None) -> list[Operation]:
    """A JSON Patch (RFC 6902) of `pod`, which must be held. `node` is the only one that can mount its volume, if any.

    The API server allows each of these changes, and no other one to the spec, only while the pod has a gate.
    """
    gate = f"/spec/schedulingGates/{pod.gate}"
    return [
        _test("/metadata/uid", pod.uid),
        _test(f"{gate}/name", GATE),
        _test(_annotation(pod.request.annotation), pod.request_text),
        *(_told(pod, opening)),
        *(narrowing(pod.affinity, node) if node else ()),
        {"op": "remove", "path": gate},
    ]


def _told(pod: GatedPod, opening: Opening) -> list[Operation]:
    told: dict[str, str] = {}
    for place, model in enumerate(opening.models):
        told[f"{MODEL_PATH}-{place}"] = f"{pod.mount_path}/{model.path}"
        told[f"{MODEL_NAME}-{place}"] = model.name
        if model.projector:
            told[f"{MODEL_PROJECTOR}-{place}"] = f"{pod.mount_path}/{model.projector}"
    return [{"op": "add", "path": _annotation(name), "value": value} for name, value in told.items()]


def _annotation(name: str) -> str:
    """The JSON Pointer of an annotation (RFC 6901)."""
    return f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}"


def _test(path: str, value: str) -> Operation:
    return {"op": "test", "path": path, "value": value}
