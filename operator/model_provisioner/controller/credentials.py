"""Reads the Secret that an object names and decides which origins may see its token.

Secrets are read by `get`, by name, in the object's own namespace only. A token goes to the origins
in the Secret's annotation `models.rbee.dev/hosts`; without it, to the operator's own hub endpoint
and never to `spec.endpoint`, so that who may create a ModelDownload cannot send a Secret of the
namespace to a host of their choice. Called by the lifecycle before it resolves.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from model_provisioner.domain.addresses import Origin, parse_host_port
from model_provisioner.domain.errors import SecretNotFound
from model_provisioner.kube.client import ApiError, KubeApi
from model_provisioner.kube.resource import GROUP
from model_provisioner.transfer.protocol import Credentials

_TOKEN_KEYS = ("token", "HF_TOKEN")
_REFUSED_TYPE = "kubernetes.io/service-account-token"
_HTTPS_PORT = 443


async def read_credentials(api: KubeApi, namespace: str, secret_name: str, hub_endpoint: str) -> Credentials:
    """The token in the Secret, bound to origins. Raises SecretNotFound with what to create."""
    secret = await _read(api, namespace, secret_name)
    if secret.get("type") == _REFUSED_TYPE:
        raise SecretNotFound(f"Secret {secret_name} is a service account's token, which is never sent to a hub")
    data = secret.get("data") or {}
    key = next((key for key in _TOKEN_KEYS if data.get(key)), None)
    if key is None:
        raise SecretNotFound(f"Secret {secret_name} has no key `token` (or HF_TOKEN): put the hub's token there")
    annotations = secret["metadata"].get("annotations") or {}
    return Credentials(_decoded(secret_name, key, data[key]), _origins(annotations, secret_name, hub_endpoint))


async def _read(api: KubeApi, namespace: str, name: str) -> Mapping[str, Any]:
    try:
        secret: Mapping[str, Any] = await api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}")
    except ApiError as error:
        if error.status == 404:
            message = f"Secret {name} does not exist in namespace {namespace}: create it with the key `token`"
            raise SecretNotFound(message) from None
        if error.status == 403:
            message = f"the operator may not read Secret {name} in namespace {namespace}: grant it `get` on secrets"
            raise SecretNotFound(message) from None
        raise
    return secret


def _decoded(name: str, key: str, value: str) -> str:
    try:
        token = base64.b64decode(value, validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        token = ""
    if not token or not token.isprintable() or " " in token:
        raise SecretNotFound(f"Secret {name}: the value of `{key}` is not a token (printable ASCII, one word)")
    return token


def _origins(annotations: Mapping[str, str], name: str, hub_endpoint: str) -> tuple[str, ...]:
    listed = annotations.get(f"{GROUP}/hosts")
    if listed is None:
        return (str(Origin.of(hub_endpoint)),)
    try:
        hosts = [parse_host_port(text) for text in listed.replace(",", " ").split()]
    except ValueError as error:
        raise SecretNotFound(f"Secret {name}: annotation {GROUP}/hosts: {error}") from None
    return tuple(str(Origin("https", host.host, host.port or _HTTPS_PORT)) for host in hosts)
