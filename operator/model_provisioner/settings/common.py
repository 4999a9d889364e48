"""What the settings of the operator and of the gateway have in common.

Each setting is one field. A flag sets it, else the environment variable `MODEL_PROVISIONER_<NAME>`, else its default.
Apart from these classes only `transfer.cli.command` reads the environment, for a person's HF_TOKEN, HF_ENDPOINT and
access key of S3, and for the pod's role at Amazon's.
"""

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from model_provisioner.settings.flags import Metavar

_SERVICE_ACCOUNT_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def _split(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


StringList = Annotated[list[str], NoDecode, BeforeValidator(_split)]
"""A repeatable flag, whose values are taken as they are. In the environment, commas or spaces separate the values."""

Kubeconfig = Annotated[
    Path | None, Metavar("FILE"), Field(description="default: the pod's service account, else KUBECONFIG")
]


class Settings(BaseSettings):
    """Raises ValidationError if a value is wrong."""

    model_config = SettingsConfigDict(env_prefix="MODEL_PROVISIONER_", extra="forbid", frozen=True)


def own_namespace() -> str | None:
    """The namespace of the pod that this process runs in; None outside of a cluster."""
    try:
        return _SERVICE_ACCOUNT_NAMESPACE.read_text().strip() or None
    except OSError:
        return None
