"""The API group and the names of our annotations. `kube`, `controller`, `gateway` and messages take them from here."""

GROUP = "models.rbee.dev"

RECONCILE_AT = f"{GROUP}/reconcileAt"
"""On a ModelDownload: try again now. Each new value is one request."""

VERIFY_AT = f"{GROUP}/verifyAt"
"""On a ModelDownload: verify the published files again, every byte. Each new value is one request."""

HOSTS = f"{GROUP}/hosts"
"""On a Secret: the hosts (`host[:port]`, separated by spaces or commas) that its credentials may be sent to."""

GATE = f"{GROUP}/model"
"""The scheduling gate of a pod that waits for its models."""

GATE_LABEL = f"{GROUP}/gate"
"""On a pod: `true` says that the operator looks after its gate. Other pods are not watched."""

MODELS = f"{GROUP}/models"
"""On a pod: the names of the ModelDownloads that it waits for, separated by commas."""

USE = f"{GROUP}/use"
"""On a pod: what it waits for, separated by commas: names of ModelDownloads, and refs. It comes before `models`."""

MOUNT_PATH = f"{GROUP}/mount-path"
"""On a pod: where its containers mount the claim, if that is not the operator's `--mount-path`."""

CLAIM = f"{GROUP}/claim"
"""On a pod: the claim that the injection adds to it. The operator reads the pod's mounts instead."""

MODEL_PATH = f"{GROUP}/model-path"
MODEL_NAME = f"{GROUP}/model-name"
MODEL_PROJECTOR = f"{GROUP}/model-projector"
"""On a pod, each with `-0`, `-1`, … at its end: what the operator tells of each model when it opens the gate."""

RUN_AS_USER = f"{GROUP}/run-as-user"
RUN_AS_GROUP = f"{GROUP}/run-as-group"
FS_GROUP = f"{GROUP}/fs-group"
"""On a claim: user, group and `fsGroup` of its worker pod, each a positive number."""
