"""The manifests of a worker pod: its Job, and the Secret with which the pod proves what it is. Pure.

`job_client` sends them. The Job is fit for Pod Security `restricted`, has no service account token unless the template
names an account, and makes one pod at most. The operator keeps no more of the token of a Job than its SHA-256, in an
annotation of the Job, so that an operator that starts recognises its workers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from model_provisioner.domain.annotations import GROUP
from model_provisioner.domain.scheduling.placement import Placement
from model_provisioner.domain.store.claim import Claim

MOUNT_PATH = "/models"
SECRET_PATH = "/etc/model-provisioner/worker"  # noqa: S105 -- a directory
SOURCE_AUTHORITIES = "sources.crt"
AUTHORITY, TOKEN = "ca.crt", "token"
CLAIM = f"{GROUP}/claim"
TOKEN_HASH = f"{GROUP}/worker-token-sha256"
REVISION = f"{GROUP}/worker-revision"
AUTHORITY_HASH = f"{GROUP}/worker-authority-sha256"
NODE = f"{GROUP}/worker-node"
PLACEMENT = f"{GROUP}/worker-placement"
JOB_LABEL = "batch.kubernetes.io/job-name"
INSTANCE_LABEL = "app.kubernetes.io/instance"
NAME_LABEL = "app.kubernetes.io/name"
WORKER_NAME = "model-provisioner-worker"
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_FINISHED_SECONDS = 300
_ANYWHERE = Placement()
_HASH_DIGITS = 16
_SUFFIX_DIGITS = 8

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """What an administrator adds to the pods. `spec` are fields of a pod, `resources` those of its container.

    The labels and the parts of `security_context` that the operator sets itself stay as they are.
    """

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(default_factory=dict)
    resources: Mapping[str, Any] = field(default_factory=dict)
    security_context: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class JobSettings:
    """What all Jobs of one release have in common.

    `instance` is the release, `address` is HOST:PORT of the door, `flags` are those of the workers below the pod's
    process (`transfer.cli.command`). `server_name` is that of the operator's certificate, if it is not the usual one.
    `source_authorities` are certificates in PEM that these trust beside the system's.
    """

    instance: str
    image: str
    pull_policy: str
    address: str
    flags: tuple[str, ...]
    version: str
    source_authorities: str = ""
    server_name: str | None = None
    template: PodTemplate = field(default_factory=PodTemplate)

    @property
    def revision(self) -> str:
        """Changes with anything that a running pod could not be told: such a pod is replaced."""
        parts: list[Any] = [
            self.image,
            self.address,
            self.flags,
            self.version,
            self.source_authorities,
            self.server_name,
        ]
        parts += _template_parts(self.template)
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:_HASH_DIGITS]


def job_name(instance: str, claim: Claim) -> str:
    """One for each claim, so that two operators can't start two pods for it."""
    digest = hashlib.sha256(f"{instance}\n{claim.namespace}\n{claim.name}".encode()).hexdigest()
    return f"model-worker-{digest[:_HASH_DIGITS]}"


def token_hash(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def authority_hash(authority: bytes) -> str:
    return hashlib.sha256(authority).hexdigest()


def job_manifest(
    settings: JobSettings, claim: Claim, token: str, placement: Placement = _ANYWHERE, authority: bytes = b""
) -> Document:
    """The Job of `claim`, whose pod proves itself by `token`, trusts `authority`, and runs as `placement` says."""
    name = job_name(settings.instance, claim)
    labels = {**settings.template.labels, NAME_LABEL: WORKER_NAME, INSTANCE_LABEL: settings.instance}
    annotations = {CLAIM: claim.name, TOKEN_HASH: token_hash(token), REVISION: settings.revision}
    annotations |= {AUTHORITY_HASH: authority_hash(authority)}
    annotations |= {NODE: placement.node} if placement.node else {}
    annotations |= {PLACEMENT: placement.reason} if placement.reason else {}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": claim.namespace, "labels": labels, "annotations": annotations},
        "spec": {
            "backoffLimit": 0,
            "completions": 1,
            "parallelism": 1,
            "ttlSecondsAfterFinished": _FINISHED_SECONDS,
            "template": {
                "metadata": {"labels": labels, "annotations": dict(settings.template.annotations)},
                "spec": _pod_spec(settings, claim, name, secret_name(name, token_hash(token)), placement),
            },
        },
    }


def secret_manifest(settings: JobSettings, job: Mapping[str, Any], token: str, authority: bytes) -> Document:
    """The Secret of `job` as the API server has stored it; it goes with its Job.

    `authority` are the certificates in PEM that the operator's door is known by.
    """
    metadata = job["metadata"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": metadata["uid"]}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": secret_name(metadata["name"], token_hash(token)),
            "namespace": metadata["namespace"],
            "labels": {NAME_LABEL: WORKER_NAME, INSTANCE_LABEL: settings.instance},
            "ownerReferences": [owner],
        },
        "type": "Opaque",
        "immutable": True,
        "stringData": {
            TOKEN: token,
            AUTHORITY: authority.decode(),
            SOURCE_AUTHORITIES: settings.source_authorities,
        },
    }


def secret_name(job: str, hash_of_token: str) -> str:
    """Another one for each token: the Secret of the Job before may still be there."""
    return f"{job}-{hash_of_token[:_SUFFIX_DIGITS]}"


def _pod_spec(settings: JobSettings, claim: Claim, name: str, secret: str, placement: Placement) -> Document:
    security = {
        "fsGroupChangePolicy": "OnRootMismatch",
        **settings.template.security_context,
        **placement.users,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        **settings.template.spec,
        **(_on_node(settings.template.spec, placement.node) if placement.node else {}),
        "restartPolicy": "Never",
        "automountServiceAccountToken": "serviceAccountName" in settings.template.spec,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "securityContext": security,
        "containers": [_container(settings, claim, name)],
        "volumes": [
            {"name": "models", "persistentVolumeClaim": {"claimName": claim.name}},
            {"name": "worker", "secret": {"secretName": secret}},
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
        ],
    }


def _on_node(spec: Mapping[str, Any], node: str) -> Document:
    """The affinity of `spec`, narrowed to `node`. The scheduler still checks all else, which `nodeName` would skip.

    A node must meet one of the terms, and all of that: so each is narrowed, and the only one is made if there is none.
    """
    affinity = spec.get("affinity") or {}
    by_node = affinity.get("nodeAffinity") or {}
    terms = (by_node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or [{}]
    field_of_node = {"key": "metadata.name", "operator": "In", "values": [node]}
    narrowed = [{**term, "matchFields": [*(term.get("matchFields") or ()), field_of_node]} for term in terms]
    required = {_REQUIRED: {"nodeSelectorTerms": narrowed}}
    return {"affinity": {**affinity, "nodeAffinity": {**by_node, **required}}}


def _container(settings: JobSettings, claim: Claim, name: str) -> Document:
    own = [f"--connect={settings.address}", f"--job={claim.namespace}/{name}", f"--secret={SECRET_PATH}"]
    own += [f"--directory={MOUNT_PATH}", *([f"--server-name={settings.server_name}"] if settings.server_name else [])]
    trusted = [f"--ca-file={SECRET_PATH}/{SOURCE_AUTHORITIES}"] if settings.source_authorities else []
    return {
        "name": "worker",
        "image": settings.image,
        "imagePullPolicy": settings.pull_policy,
        "args": ["worker", *own, "--", *settings.flags, *trusted],
        "resources": dict(settings.template.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "models", "mountPath": MOUNT_PATH},
            {"name": "worker", "mountPath": SECRET_PATH, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 -- a volume of its own
        ],
    }


def _template_parts(template: PodTemplate) -> list[Any]:
    parts = (template.labels, template.annotations, template.spec, template.resources, template.security_context)
    return [dict(part) for part in parts]
