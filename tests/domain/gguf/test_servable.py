"""Which files engines are told of as models."""

import pytest

from model_provisioner.domain.gguf.servable import why_not_served
from model_provisioner.domain.model_facts import GGUFSummary


@pytest.mark.parametrize(
    ("summary", "why"),
    [
        (None, None),
        (GGUFSummary(), None),
        (GGUFSummary("llama"), None),
        (GGUFSummary("clip"), "is a multimodal projector, not a model"),
        (GGUFSummary("llama", adapter=True), "is an adapter (LoRA), which is loaded beside the model"),
    ],
)
def test_projectors_and_adapters_are_no_models(summary: GGUFSummary | None, why: str | None) -> None:
    found = why_not_served(summary)
    assert found is None if why is None else (found or "").startswith(why)
