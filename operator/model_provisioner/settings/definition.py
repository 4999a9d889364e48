"""The settings of `model-provisioner definition`, which `controller.definition.command` reads."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from model_provisioner.settings.common import Kubeconfig, Settings
from model_provisioner.settings.flags import Metavar


class DefinitionSettings(Settings):
    """`file` is read once, at the start."""

    file: Annotated[Path, Metavar("FILE")] = Field(
        description="the custom resource definition that the cluster gets, as in crds/ of the chart"
    )
    kubeconfig: Kubeconfig = None
