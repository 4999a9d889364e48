"""Whether a worker pod that is not connected can connect with its Secret. Pure.

An operator that ends between the two requests leaves a Job without a Secret, and a tenant may delete or replace the
Secret. Such a pod would be waited for in vain. `job_client` reads the Secret. A pod whose authority has been replaced
is noticed by its Job alone (`job_client.fits`).
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from model_provisioner.controller.workers.pods.manifests import AUTHORITY, TOKEN, authority_hash, token_hash
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState


def fault(secret: Mapping[str, Any] | None, token: str, authority: str, phase: Phase) -> PodState | None:
    """Why the pod, which is in `phase`, can't connect; None if it can, or has ended.

    `token` and `authority` are the SHA-256 that the Job has of them. A pod that runs has its files: it needs the Secret
    no more.
    """
    if phase is not Phase.PENDING:
        return None
    if secret is None:
        return _ended("its Secret does not exist")
    if authority_hash(_value(secret, AUTHORITY)) != authority:
        return _ended("its Secret has another authority than its Job says")
    if token_hash(_value(secret, TOKEN).decode(errors="replace")) != token:
        return _ended("its Secret has another token than its Job says")
    return None


def _ended(why: str) -> PodState:
    return PodState(Phase.ENDED, f"{why}, so that it can't connect")


def _value(secret: Mapping[str, Any], key: str) -> bytes:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "")
    except binascii.Error:
        return b""
