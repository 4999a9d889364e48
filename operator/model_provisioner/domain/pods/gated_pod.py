"""A pod that waits behind a scheduling gate, reduced to what the decision about its gate needs.

`controller.gates` reads it from the documents of its watch, and keeps only this: a namespace can have a thousand such
pods. `domain.pods.decision` decides about it. Every document can be read; what is wrong in it is told by `problem`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from model_provisioner.domain.annotations import GATE, MOUNT_PATH
from model_provisioner.domain.pods.affinity import Affinity, read_affinity
from model_provisioner.domain.pods.wanted import Problem, Request, UnreadableAnnotation, read_request
from model_provisioner.domain.refs.model_ref import shown

_MAX_PATH_CHARACTERS = 1024
_MAX_MESSAGE_CHARACTERS = 1024
_MAX_CLAIMS = 16
_CLAIM = re.compile(r"[a-z0-9.-]{1,253}")  # of a name of a claim in a pod, the API server checks nothing
_NOTHING = Request("", ())

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class GatedPod:
    """`version` is the resourceVersion. `gate` is the place of our gate among its scheduling gates; None: it has none.

    `claims` are those that a container mounts at `mount_path`, which has no slash at its end; the first sixteen if
    there are more. If `problem` is set, the annotations can't be read, and `request` is empty.
    """

    namespace: str
    name: str
    uid: str
    version: int
    gate: int | None
    request: Request
    request_text: str
    mount_path: str
    claims: frozenset[str]
    affinity: Affinity
    deleting: bool = False
    problem: Problem | None = None

    @property
    def is_held(self) -> bool:
        """Whether our gate is what the pod waits for, perhaps beside other gates."""
        return self.gate is not None and not self.deleting


def read_pod(document: Document, default_mount_path: str) -> GatedPod:
    """The pod in `document`, as the API server sends it."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    request, mount_path, problem = _NOTHING, default_mount_path, None
    try:
        mount_path = _mount_path(annotations.get(MOUNT_PATH, default_mount_path))
        request = read_request(annotations)
    except UnreadableAnnotation as error:
        problem = Problem(error.reason, error.message[:_MAX_MESSAGE_CHARACTERS])
    return GatedPod(
        namespace=metadata["namespace"],
        name=metadata["name"],
        uid=metadata["uid"],
        version=int(metadata["resourceVersion"]),
        gate=next(
            (place for place, gate in enumerate(spec.get("schedulingGates") or ()) if gate["name"] == GATE), None
        ),
        request=request,
        request_text=annotations[request.annotation] if request.models else "",
        mount_path=mount_path,
        claims=frozenset(sorted(set(_claims_at(mount_path, spec)))[:_MAX_CLAIMS]),
        affinity=read_affinity(spec),
        deleting=metadata.get("deletionTimestamp") is not None,
        problem=problem,
    )


def _mount_path(text: str) -> str:
    """Raises UnreadableAnnotation."""
    path = text.rstrip("/")
    if not path.startswith("/") or len(path) > _MAX_PATH_CHARACTERS or not path.isprintable() or ":" in path:
        raise UnreadableAnnotation(
            f"the annotation {MOUNT_PATH}: {shown(text)} is no path of a mount: write an absolute one, such as /models"
        )
    return path


def _claims_at(path: str, spec: Document) -> Iterator[str]:
    """The claims whose root a container of the pod mounts at `path`."""
    claims = {
        volume["name"]: volume["persistentVolumeClaim"].get("claimName", "")
        for volume in spec.get("volumes") or ()
        if volume.get("persistentVolumeClaim")
    }
    for container in (*(spec.get("initContainers") or ()), *(spec.get("containers") or ())):
        for mount in container.get("volumeMounts") or ():
            is_whole = not (mount.get("subPath") or mount.get("subPathExpr"))
            claim = claims.get(mount["name"], "")
            if is_whole and mount["mountPath"].rstrip("/") == path and _CLAIM.fullmatch(claim):
                yield claim
