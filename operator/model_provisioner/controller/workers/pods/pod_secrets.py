"""Whether a worker pod that is not connected can connect with its Secret. Pure.

An operator that ends between the two requests leaves a Job without a Secret; a tenant may delete or replace the Secret;
and the operator's authority may have been replaced. Such a pod would be waited for in vain. `job_client` reads the
Secret.
"""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from model_provisioner.controller.workers.pods.manifests import AUTHORITY, TOKEN, token_hash
from model_provisioner.controller.workers.pods.pod_states import Phase, PodState


def fault(secret: Mapping[str, Any] | None, expected_hash: str, authority: bytes, phase: Phase) -> PodState | None:
    """Why the pod, which is in `phase`, can't connect; None if it can, or has ended.

    A pod that runs has its files: it needs the Secret no more.
    """
    has_started = phase is Phase.RUNNING
    if phase is not Phase.PENDING and not has_started:
        return None
    if secret is None:
        return None if has_started else _ended("its Secret does not exist")
    if _value(secret, AUTHORITY) != authority:
        return _ended("its Secret has another authority than the operator")
    token = _value(secret, TOKEN) or b""
    if not has_started and token_hash(token.decode(errors="replace")) != expected_hash:
        return _ended("its Secret has another token than its Job says")
    return None


def _ended(why: str) -> PodState:
    return PodState(Phase.ENDED, f"{why}, so that it can't connect")


def _value(secret: Mapping[str, Any], key: str) -> bytes | None:
    try:
        return base64.b64decode((secret.get("data") or {}).get(key) or "")
    except binascii.Error:
        return None
