"""Which hub receives HF_TOKEN of the environment."""

import pytest

from model_provisioner.domain.refs.hubs import gets_token_unasked

HUB = "https://hub.example"
PUBLIC = "https://huggingface.co"


@pytest.mark.parametrize(
    ("endpoint", "of_environment", "direct", "sent"),
    [
        (PUBLIC, None, True, True),
        ("https://HuggingFace.co:443/", HUB, True, True),
        (PUBLIC, None, False, True),
        ("http://huggingface.co", None, True, False),
        ("http://huggingface.co", "http://huggingface.co", True, False),
        ("https://huggingface.co:8443", None, True, False),
        ("https://huggingface.co.hub.example", None, True, False),
        (HUB, None, True, False),
        (HUB, HUB, True, True),
        (f"{HUB}/api/hf", f"{HUB}/", True, True),
        (HUB, "https://hub.example:8443", True, False),
        (HUB, "https://other.example", True, False),
        (HUB, "http://hub.example", True, False),
        ("http://hub.example", "http://hub.example", True, False),
        ("http://hub.example", HUB, True, False),
        ("http://10.1.2.3", "http://10.1.2.3", True, False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", True, True),
        ("http://[::1]:8080", "http://[::1]:8080", True, True),
        ("http://localhost:8080", "http://localhost:8080", True, True),
        ("http://localhost.hub.example", "http://localhost.hub.example", True, False),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080", False, False),
        ("http://127.0.0.1:8080", None, True, False),
    ],
)
def test_only_the_own_hub_gets_the_token_without_a_flag(
    endpoint: str, of_environment: str | None, direct: bool, sent: bool
) -> None:
    assert gets_token_unasked(endpoint, of_environment, direct=direct) is sent
