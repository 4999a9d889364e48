"""The settings of worker pods, a part of those of the operator. `controller.workers.pods.pod_settings` reads them."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator
from pydantic.alias_generators import to_camel

from model_provisioner.domain.annotations import GROUP
from model_provisioner.settings.common import Settings
from model_provisioner.settings.flags import Metavar

_NEEDED = "--worker-listen needs --worker-connect and --worker-image: where the pods connect to, and what they run"


_RESERVED = re.compile(rf"{re.escape(GROUP)}/|batch\.kubernetes\.io/|(job-name|controller-uid)$")
"""Labels and annotations of the operator and of the Job controller."""


class _Template(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, populate_by_name=True)


def _free(keys: dict[str, str]) -> dict[str, str]:
    for key in keys:
        if _RESERVED.match(key):
            raise ValueError(f"{key} is set by the operator or by Kubernetes")
    return keys


_Keys = Annotated[dict[str, str], AfterValidator(_free)]
_Id = Annotated[int, Field(ge=1, le=2**31 - 1)]


class WorkerUser(_Template):
    """Fields of a pod's security context that Pod Security `restricted` leaves open."""

    run_as_user: _Id | None = None
    run_as_group: _Id | None = None
    fs_group: _Id | None = None
    supplemental_groups: list[_Id] | None = None
    fs_group_change_policy: Literal["Always", "OnRootMismatch"] | None = None
    se_linux_options: dict[str, str] | None = None


class WorkerTemplate(_Template):
    """What an administrator adds to the worker pods: fields of a pod, by their names there.

    `resources` are those of the container. With a `service_account_name` the token of that account is mounted.
    """

    labels: _Keys = Field(default_factory=dict)
    annotations: _Keys = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    tolerations: list[dict[str, Any]] = Field(default_factory=list)
    affinity: dict[str, Any] = Field(default_factory=dict)
    priority_class_name: str = ""
    runtime_class_name: str = ""
    image_pull_secrets: list[dict[str, str]] = Field(default_factory=list)
    service_account_name: str = ""
    resources: dict[str, dict[str, Any]] = Field(default_factory=dict)
    pod_security_context: WorkerUser = WorkerUser()


class WorkerPodSettings(Settings):
    """Worker pods are off without `worker_listen`."""

    worker_listen: Annotated[str | None, Metavar("HOST:PORT")] = Field(
        default=None, description="listen there for worker pods, and start one for each claim that is not mounted here"
    )
    worker_connect: Annotated[str | None, Metavar("HOST:PORT")] = Field(
        default=None, description="where worker pods connect to: the address of a Service for --worker-listen"
    )
    worker_tls_secret: Annotated[str | None, Metavar("NAME")] = Field(
        default=None,
        description="Secret of the operator's namespace: tls.crt (for the host of --worker-connect), tls.key, ca.crt",
    )
    worker_image: Annotated[str | None, Metavar("IMAGE")] = Field(
        default=None, description="of worker pods: that of this version of the program"
    )
    worker_pull_policy: Annotated[Literal["Always", "IfNotPresent", "Never"], Metavar("POLICY")] = Field(
        default="IfNotPresent", description="when a node pulls that image (default IfNotPresent)"
    )
    worker_max: Annotated[int, Metavar("N")] = Field(
        default=10, ge=1, le=1000, description="worker pods at one time (default 10)"
    )
    worker_max_per_namespace: Annotated[int, Metavar("N")] = Field(
        default=4, ge=1, le=1000, description="worker pods of one namespace at one time (default 4)"
    )
    worker_wait_for_first_consumer: bool = Field(
        default=False, description="start no worker pod for a claim without a volume: another pod is to bind it"
    )
    worker_copy_from_cluster: bool = Field(
        default=False, description="let worker pods copy files that are published on a claim that is mounted here"
    )
    worker_template: Annotated[str, Metavar("JSON")] = Field(
        default="{}", description="what is added to worker pods, such as nodeSelector and resources"
    )
    worker_instance: Annotated[str, Metavar("NAME")] = Field(
        default="model-provisioner",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,47}[a-z0-9])?$",
        description="the label of this release's worker pods, and the beginning of the name of its Secret",
    )

    @property
    def copies_from_cluster(self) -> bool:
        """Whether worker pods, if there are any, copy files."""
        return self.worker_listen is not None and self.worker_copy_from_cluster

    @field_validator("worker_template")
    @classmethod
    def _check_template(cls, value: str) -> str:
        try:
            WorkerTemplate.model_validate_json(value)
        except ValidationError as error:
            problem = error.errors()[0]
            raise ValueError(f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}") from None
        return value

    @model_validator(mode="after")
    def _check_workers(self) -> "WorkerPodSettings":
        if self.worker_listen and not (self.worker_connect and self.worker_image):
            raise ValueError(_NEEDED)
        return self
