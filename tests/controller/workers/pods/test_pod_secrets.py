"""A pod that can't connect with its Secret is replaced, and one that can is not."""

import base64

import pytest

from model_provisioner.controller.workers.pods.manifests import authority_hash, token_hash
from model_provisioner.controller.workers.pods.pod_secrets import fault
from model_provisioner.controller.workers.pods.pod_states import Phase

TOKEN, AUTHORITY = "right", b"-----BEGIN CERTIFICATE-----"
HASHES = token_hash(TOKEN), authority_hash(AUTHORITY)


def secret(token: str = TOKEN, authority: bytes = AUTHORITY) -> dict[str, object]:
    data = {"token": token.encode(), "ca.crt": authority}
    return {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}}


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (None, "does not exist"),
        ({}, "another authority"),
        ({"data": None}, "another authority"),
        ({"data": {"token": "%", "ca.crt": "x"}}, "another authority"),
        (secret(token="another"), "another token"),
        (secret(token=""), "another token"),
        (secret(authority=b"another"), "another authority"),
    ],
)
def test_a_pod_that_can_t_connect_has_ended(found: dict[str, object] | None, why: str) -> None:
    state = fault(found, *HASHES, Phase.PENDING)
    assert state
    assert state.phase is Phase.ENDED
    assert why in state.message
    assert fault(found, *HASHES, Phase.RUNNING) is None, "it has read its Secret"


@pytest.mark.parametrize("phase", Phase)
def test_a_pod_that_can_connect_or_has_ended_is_left_as_it_is(phase: Phase) -> None:
    assert fault(secret(), *HASHES, phase) is None
    if phase is not Phase.PENDING:
        assert fault(None, *HASHES, phase) is None
