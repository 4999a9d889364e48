"""Reads the Secret that an object names, decides which origins receive its token, and waits for another version.

A Secret is read by `get`, by name, in the object's own namespace only. Secrets are never listed or watched: while an
object waits for a change, its Secret is read every minute. A token is sent to the origins in the Secret's annotation
`models.rbee.dev/hosts`; without it to the operator's own endpoint of that source, or to the registries that it names
itself, and never to `spec.endpoint` or to the host in a ref. Otherwise, the right to create a ModelDownload would be
enough to send a Secret of the namespace to any host. For the same reason only Secrets of the general type are used, and
docker's for registries: every other type says that the Secret was made for another program.

An object without a Secret may use the access key of the operator's own pod for the buckets that the administrator
lists.

Called by `attempt` before it resolves, and by `waits` after the hub refused the model.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from model_provisioner.domain.annotations import HOSTS
from model_provisioner.domain.credentials.ambient import EVERY_BUCKET
from model_provisioner.domain.credentials.credentials import Credentials, origins_of_hosts
from model_provisioner.domain.credentials.secret_keys import UnusableSecret, decoded, read
from model_provisioner.domain.errors import SecretNotFound, SourceUnavailable
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.endpoints import Endpoints
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.s3 import S3Ref
from model_provisioner.kube.client import ApiError, KubeApi

_GENERAL_TYPE = "Opaque"
"""The only type that is allowed: a list of refused ones is never complete. The API server sets it by default."""
_MAX_SHOWN_TYPE = 80
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

    def credentials(self, ref: ModelRef, endpoints: Endpoints) -> Credentials:
        """The credential for the source of `ref`, and the origins that may receive it.

        `endpoints` are the operator's own. Raises SecretNotFound if the Secret has none that can be used; the message
        says what to create.
        """
        if self.document is None:
            raise SecretNotFound(self.error)
        if not ref.secret_kinds:
            raise SecretNotFound(f"{ref.scheme}: models need no Secret: remove credentialsSecretRef")
        kind = self.document.get("type", _GENERAL_TYPE)
        kinds = [one for one in ref.secret_kinds if one.secret_type in {kind, _GENERAL_TYPE}]
        if kind not in {_GENERAL_TYPE, *(one.secret_type for one in ref.secret_kinds)}:
            raise SecretNotFound(
                f"Secret {self.name} has the type {kind[:_MAX_SHOWN_TYPE]}, so it was made for another purpose and is "
                f"never sent to a source: name one of type {_GENERAL_TYPE} in credentialsSecretRef, with "
                f"{' or '.join(one.keys for one in kinds)}"
            )
        try:
            found = read(decoded(self.document.get("data") or {}), kinds)
        except UnusableSecret as error:
            raise SecretNotFound(f"Secret {self.name} {error}") from None
        annotations = self.document["metadata"].get("annotations") or {}
        own = endpoints.own.get(ref.scheme)
        return replace(found, origins=_origins(annotations, self.name, own) or found.origins or self._unnamed(ref))

    def _unnamed(self, ref: ModelRef) -> tuple[str, ...]:
        raise SecretNotFound(
            f"Secret {self.name} does not say which host may have it: annotate it with {HOSTS}="
            f"{(ref.endpoint or '').partition('://')[2]} if that host may"
        )


def pod_credentials(ref: ModelRef, endpoints: Endpoints, buckets: Sequence[str]) -> Credentials | None:
    """The access key of the operator's own pod, for an object that names no Secret; None if it may not use that.

    `buckets` are those that the administrator lists for it, and only at the administrator's own endpoint.
    """
    if not isinstance(ref, S3Ref) or not {EVERY_BUCKET, ref.bucket} & set(buckets):
        return None
    return Credentials(None, (str(Origin.of(endpoints.own[ref.scheme])),), ambient=True)


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


def _origins(annotations: Mapping[str, str], name: str, own: str | None) -> tuple[str, ...]:
    """Those that the annotation lists; without it, that of the operator's own endpoint `own`, if there is one."""
    listed = annotations.get(HOSTS)
    if listed is None:
        return (str(Origin.of(own)),) if own else ()
    try:
        return origins_of_hosts(listed)
    except ValueError as error:
        raise SecretNotFound(f"Secret {name}: annotation {HOSTS}: {error}") from None
