"""The certificate of the door from a Secret that the administrator names, as cert-manager keeps one.

It is read by its name, again after a minute, so that a renewed one is used long before the one before ends. What is
wrong with it is told in the log, and on each object that needs a worker pod. Called by `pod_service` in place of
`authority_secret`.
"""

import base64
import logging
import ssl
from collections.abc import Mapping
from typing import Any

from model_provisioner.controller.workers.door.door_tls import Identity, rehearse
from model_provisioner.kube.client import ApiError, KubeApi

_LOG = logging.getLogger(__name__)
_CHAIN, _KEY, _AUTHORITY = "tls.crt", "tls.key", "ca.crt"
_MOST_BYTES = 128 * 1024  # of each; `ca.crt` goes into the Secret of each Job
_OF_AUTHORITY = "the issuer of the Certificate must be one that tells its authority, such as a CA issuer"


class UnusableSecretError(Exception):
    """No worker pod can connect with what the Secret has."""


class GivenSecret:
    """The Secret `name` of `namespace`, whose certificate is for `server_name`."""

    renewal_seconds = 60.0

    def __init__(self, api: KubeApi, namespace: str, name: str, server_name: str) -> None:
        self._api = api
        self._path = f"/api/v1/namespaces/{namespace}/secrets/{name}"
        self._what = f"Secret {namespace}/{name} of workers.tlsSecretName"
        self._server_name = server_name
        self._last: Identity | None = None
        self._told = ""

    async def identity(self) -> Identity:
        """What the Secret has; what it had before, as long as pods accept that, if there is something wrong with it.

        Raises UnusableSecretError, or ApiError if the API server does not tell.
        """
        try:
            self._last = self._checked(await self._read())
        except UnusableSecretError as error:
            if self._last is None or _fault(self._last, self._server_name):
                self._last = None
                raise
            if str(error) != self._told:
                _LOG.warning("the door keeps the certificate before, until that ends: %s", error)
            self._told = str(error)
        return self._last

    async def _read(self) -> Identity:
        try:
            data = (await self._api.get(self._path)).get("data") or {}
        except ApiError as error:
            if not error.is_not_found:
                raise
            raise UnusableSecretError(f"{self._what} does not exist; create it, or its Certificate") from None
        return Identity(self._part(data, _CHAIN), self._part(data, _KEY), self._part(data, _AUTHORITY))

    def _part(self, data: Mapping[str, Any], key: str) -> bytes:
        part = base64.b64decode(data.get(key) or "")
        if not part.strip():
            hint = _OF_AUTHORITY if key == _AUTHORITY else "it must be one of type kubernetes.io/tls"
            raise UnusableSecretError(f"{self._what} has no {key}; {hint}")
        if len(part) > _MOST_BYTES:
            raise UnusableSecretError(f"{self._what} has more than {_MOST_BYTES // 1024} KiB in {key}")
        return part

    def _checked(self, identity: Identity) -> Identity:
        if fault := _fault(identity, self._server_name):
            raise UnusableSecretError(f"{self._what} can't be used: {fault}")
        return identity


def _fault(identity: Identity, server_name: str) -> str | None:
    """What is wrong with `identity`, and what to do; None if a worker pod accepts it."""
    try:
        rehearse(identity, server_name)
    except ssl.SSLCertVerificationError as error:
        return (
            f"worker pods refuse its certificate for {server_name} ({error.verify_message}); "
            f"let its issuer make one for this name, signed by an authority in {_AUTHORITY}"
        )
    except (ssl.SSLError, ValueError) as error:
        why = error.reason if isinstance(error, ssl.SSLError) and error.reason else error
        return (
            f"{_CHAIN} and {_KEY} must be a certificate and its key without a password, and {_AUTHORITY} "
            f"certificates, all in PEM ({why})"
        )
    return None
