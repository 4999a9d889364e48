"""The settings of `model-provisioner release`, which `controller.release.command` reads and `uninstall` acts on."""

import socket
from typing import Annotated

from pydantic import Field, field_validator

from model_provisioner.domain import scope
from model_provisioner.settings.common import Kubeconfig, Settings, StringList
from model_provisioner.settings.flags import Metavar


class ReleaseSettings(Settings):
    """`instance` names this process in the Lease; it has no flag.

    `pod_uid` is None outside of a pod. With it, an operator can find out that this pod is gone.
    """

    namespace: Annotated[str, Metavar("NS")] = Field(
        min_length=1, description="namespace of the operator's Deployment and Lease, and of this pod"
    )
    deployment: Annotated[str, Metavar("NAME")] = Field(
        min_length=1, description="the operator's Deployment, which is scaled to 0"
    )
    watch_namespace: Annotated[StringList, Metavar("NS")] = Field(
        default_factory=list,
        description="namespace whose objects are released (repeatable; *: every one; default: that of --namespace)",
    )
    kubeconfig: Kubeconfig = None
    instance: str = Field(default_factory=socket.gethostname, validation_alias="POD_NAME")
    pod_uid: str | None = Field(default=None, validation_alias="POD_UID")

    @field_validator("watch_namespace")
    @classmethod
    def _check_namespaces(cls, value: list[str]) -> list[str]:
        scope.check(value)
        return value

    @property
    def namespaces(self) -> list[str]:
        """The namespaces whose objects are released: the given ones, else our own."""
        return list(dict.fromkeys(self.watch_namespace)) or [self.namespace]
