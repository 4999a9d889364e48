"""Reads the Secret that an object names, decides which origins receive its token, and waits for another version.

A Secret is read by `get`, by name, in the object's own namespace only. Secrets are never listed or watched: while an
object waits for a change, its Secret is read every minute. A token is sent to the origins in the Secret's annotation
`models.rbee.dev/hosts`; without it to the operator's own hub endpoint, and never to `spec.endpoint`. Otherwise, the
right to create a ModelDownload would be enough to send a Secret of the namespace to any host. For the same reason only
Secrets of the general type are used: every other type says that the Secret was made for another program.

Called by `attempt` before it resolves, and by `waits` after the hub refused the model.
"""

import base64
import binascii
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from model_provisioner.domain.annotations import HOSTS
from model_provisioner.domain.errors import SecretNotFound, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin, parse_host_port
from model_provisioner.domain.network.credentials import Credentials
from model_provisioner.kube.client import ApiError, KubeApi

_TOKEN_KEYS = ("token", "HF_TOKEN")
_GENERAL_TYPE = "Opaque"
"""The only type that is allowed: a list of refused ones is never complete. The API server sets it by default."""
_MAX_SHOWN_TYPE = 80
_MAX_TOKEN = 4096
"""In characters. Common servers accept a header of 8 KiB."""
_HTTPS_PORT = 443
_POLL_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Secret:
    """A Secret as it was read.

    `document` is None if it does not exist or may not be read; `error` is then the message for the user.
    """

    name: str
    document: Mapping[str, Any] | None = field(repr=False)
    error: str = ""

    @property
    def version(self) -> str | None:
        """The resourceVersion, None without a document. It differs after the Secret was changed, made or deleted."""
        return self.document["metadata"]["resourceVersion"] if self.document else None

    def credentials(self, hub_endpoint: str) -> Credentials:
        """The token and the origins that may receive it.

        `hub_endpoint` is the URL of the operator's own hub. Raises SecretNotFound if the Secret has no usable token;
        the message says what to create.
        """
        if self.document is None:
            raise SecretNotFound(self.error)
        kind = self.document.get("type", _GENERAL_TYPE)
        if kind != _GENERAL_TYPE:
            raise SecretNotFound(
                f"Secret {self.name} has the type {kind[:_MAX_SHOWN_TYPE]}, so it was made for another purpose and is "
                f"never sent to a hub: name one of type {_GENERAL_TYPE} in credentialsSecretRef, with the hub's token "
                "under the key `token`"
            )
        data = self.document.get("data") or {}
        key = next((key for key in _TOKEN_KEYS if data.get(key)), None)
        if key is None:
            raise SecretNotFound(f"Secret {self.name} has no key `token` (or HF_TOKEN): put the hub's token there")
        annotations = self.document["metadata"].get("annotations") or {}
        return Credentials(_decoded(self.name, key, data[key]), _origins(annotations, self.name, hub_endpoint))


async def read_secret(api: KubeApi, namespace: str, name: str) -> Secret:
    """Reads the Secret. Raises SourceUnavailable if the API server does not say whether it exists."""
    try:
        return Secret(name, await api.get(f"/api/v1/namespaces/{namespace}/secrets/{name}"))
    except ApiError as error:
        if error.is_not_found:
            message = f"Secret {name} does not exist in namespace {namespace}: create it with the key `token`"
        elif error.is_forbidden:
            message = f"the operator may not read Secret {name} in namespace {namespace}: grant it `get` on secrets"
        else:
            raise SourceUnavailable(f"Secret {name} could not be read: {error}", error.retry_after) from None
        return Secret(name, None, message)


async def until_changed(
    api: KubeApi, namespace: str, secret: Secret, sleep: Callable[[float], Awaitable[None]]
) -> None:
    """Returns when the version of the Secret differs from that of `secret`, which was read before."""
    while True:
        await sleep(_POLL_SECONDS)
        with contextlib.suppress(SourceUnavailable):
            if (await read_secret(api, namespace, secret.name)).version != secret.version:
                return


def _decoded(name: str, key: str, value: str) -> str:
    try:
        token = base64.b64decode(value, validate=True).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        token = ""
    if not token or not token.isprintable() or " " in token or len(token) > _MAX_TOKEN:
        raise SecretNotFound(
            f"Secret {name}: the value of `{key}` is not a token (printable ASCII, one word, at most {_MAX_TOKEN} "
            "characters)"
        )
    return token


def _origins(annotations: Mapping[str, str], name: str, hub_endpoint: str) -> tuple[str, ...]:
    listed = annotations.get(HOSTS)
    if listed is None:
        return (str(Origin.of(hub_endpoint)),)
    try:
        hosts = [parse_host_port(text) for text in listed.replace(",", " ").split()]
    except ValueError as error:
        raise SecretNotFound(f"Secret {name}: annotation {HOSTS}: {error}") from None
    return tuple(str(Origin("https", host.host, host.port or _HTTPS_PORT)) for host in hosts)
