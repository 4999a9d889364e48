"""The Secret in the release's namespace that keeps the authority of the door, made on the first start.

An authority that ends soon, or that can't be read, is replaced. A pod that trusts the one before stays connected; if it
is cut off, then or later, its claim gets another pod, which goes on from the journal. Called by
`pod_service`, unless the administrator names a Secret with a certificate (`given_secret`).
"""

import base64
import binascii
import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from model_provisioner.controller.workers.door.certificates import Authority, is_usable, issue, new_authority
from model_provisioner.controller.workers.door.door_tls import Identity
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)
_CERTIFICATE, _KEY = "ca.crt", "ca.key"


class AuthoritySecret:
    """The Secret `name` of `namespace`. `now` is in UTC."""

    renewal_seconds = 24 * 3600.0

    def __init__(self, api: KubeApi, namespace: str, name: str, now: Callable[[], datetime]) -> None:
        self._api = api
        self._collection = f"/api/v1/namespaces/{namespace}/secrets"
        self._name = name
        self._now = now

    async def identity(self) -> Identity:
        """A new certificate at each call, and the authority that has signed it. Raises ApiError."""
        return issue(await self.authority(), self._now())

    async def authority(self) -> Authority:
        """The authority, which is made or replaced if it must be. Raises ApiError."""
        try:
            document = await self._api.get(f"{self._collection}/{self._name}")
        except ApiError as error:
            if not error.is_not_found:
                raise
            return await self._create()
        kept = _authority(document)
        if kept and is_usable(kept, self._now()):
            return kept
        made = new_authority(self._now())
        _LOG.info(
            "the authority of worker pods in the Secret %s ends soon or can't be read, and is replaced", self._name
        )
        await self._api.patch(f"{self._collection}/{self._name}", {"data": _data(made)})
        return made

    async def _create(self) -> Authority:
        made = new_authority(self._now())
        metadata = {"name": self._name, "labels": {"app.kubernetes.io/managed-by": "model-provisioner"}}
        await self._api.create(
            self._collection,
            {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": _data(made)},
        )
        return made


def _data(authority: Authority) -> dict[str, str]:
    return {
        _CERTIFICATE: base64.b64encode(authority.certificate).decode(),
        _KEY: base64.b64encode(authority.key).decode(),
    }


def _authority(document: Mapping[str, Any]) -> Authority | None:
    data = document.get("data") or {}
    try:
        return Authority(base64.b64decode(data[_CERTIFICATE]), base64.b64decode(data[_KEY]))
    except (KeyError, TypeError, binascii.Error):
        return None
