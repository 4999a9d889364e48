"""The settings of `model-provisioner check`, which `check.command` reads and acts on."""

from typing import Annotated

from pydantic import Field

from model_provisioner.settings.common import Settings, StringList
from model_provisioner.settings.flags import Metavar


class CheckSettings(Settings):
    """An answer is right if its status is 200 and it contains each text."""

    url: Annotated[str, Metavar("URL")] = Field(pattern=r"^https?://\S+$", description="the address to ask")
    contains: Annotated[StringList, Metavar("TEXT")] = Field(
        default_factory=list, description="what the answer must contain (repeatable)"
    )
    seconds: Annotated[int, Metavar("SECONDS")] = Field(
        default=60, ge=0, le=3600, description="how long to wait for such an answer (default 60)"
    )
    insecure: bool = Field(default=False, description="do not verify the certificate")
