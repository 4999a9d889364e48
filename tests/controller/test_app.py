"""The process as a whole: the Lease has a name of it that others can check."""

import pytest

from model_provisioner.controller import app
from model_provisioner.domain.liveness import LeaseHolder
from model_provisioner.settings.operator import OperatorSettings

UID = "1b4e28ba-2fa1-11d2-883f-0016d3cca427"


@pytest.mark.parametrize(
    ("pod_uid", "own", "identity"),
    [
        (UID, "ai", LeaseHolder("operator-a", UID)),
        (UID, None, LeaseHolder("operator-a", UID)),
        (UID, "elsewhere", LeaseHolder("operator-a")),
        (None, None, LeaseHolder("operator-a")),
    ],
)
def test_the_lease_has_the_uid_of_a_pod_that_can_be_looked_up_beside_it(
    monkeypatch: pytest.MonkeyPatch, pod_uid: str | None, own: str | None, identity: LeaseHolder
) -> None:
    """A pod in another namespace would seem to be gone."""
    monkeypatch.setenv("POD_NAME", "operator-a")
    if pod_uid is not None:
        monkeypatch.setenv("POD_UID", pod_uid)
    monkeypatch.setattr(app, "own_namespace", lambda: own)
    settings = OperatorSettings(store=["ai/models=/models"])
    assert app._identity(settings, "ai") == identity
