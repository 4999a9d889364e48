"""A pod that can't connect with its Secret is replaced, and one that can is not."""

import base64

import pytest

from model_provisioner.controller.workers.pods.manifests import token_hash
from model_provisioner.controller.workers.pods.pod_secrets import fault
from model_provisioner.controller.workers.pods.pod_states import Phase

TOKEN, AUTHORITY = "right", b"-----BEGIN CERTIFICATE-----"
HASH = token_hash(TOKEN)


def secret(token: str = TOKEN, authority: bytes = AUTHORITY) -> dict[str, object]:
    data = {"token": token.encode(), "ca.crt": authority}
    return {"data": {key: base64.b64encode(value).decode() for key, value in data.items()}}


@pytest.mark.parametrize(
    ("found", "why", "also_if_it_runs"),
    [
        (None, "does not exist", False),
        ({}, "another authority", True),
        ({"data": None}, "another authority", True),
        ({"data": {"token": "%", "ca.crt": "x"}}, "another authority", True),
        (secret(token="another"), "another token", False),
        (secret(token=""), "another token", False),
        (secret(authority=b"another"), "another authority", True),
    ],
)
def test_a_pod_that_can_t_connect_has_ended(
    found: dict[str, object] | None, why: str, *, also_if_it_runs: bool
) -> None:
    state = fault(found, HASH, AUTHORITY, Phase.PENDING)
    assert state
    assert state.phase is Phase.ENDED
    assert why in state.message
    assert (fault(found, HASH, AUTHORITY, Phase.RUNNING) is not None) is also_if_it_runs


@pytest.mark.parametrize("phase", Phase)
def test_a_pod_that_can_connect_or_has_ended_is_left_as_it_is(phase: Phase) -> None:
    assert fault(secret(), HASH, AUTHORITY, phase) is None
    if phase not in {Phase.PENDING, Phase.RUNNING}:
        assert fault(None, HASH, AUTHORITY, phase) is None
