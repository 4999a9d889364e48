"""Which origins a token may be sent to."""

import pytest

from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.network.credentials import Credentials

HUB = "https://hub.example"


@pytest.mark.parametrize(
    ("origin", "permitted"),
    [(HUB, True), ("https://hub.example:443", True), ("http://hub.example", False), ("https://hub.example:1", False)],
)
def test_scheme_host_and_port_must_match(origin: str, permitted: bool) -> None:
    assert Credentials("x", (f"{HUB}/path", "https://huggingface.co")).permits(Origin.of(origin)) is permitted
