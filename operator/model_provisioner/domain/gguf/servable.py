"""Decides which Ready files engines are told of as models: a projector and an adapter are loaded beside a model.

Called by `domain.engines.documents` and `domain.views.ollama_image`. Which file a plan takes is decided in `roles`.
"""

from model_provisioner.domain.gguf.format import PROJECTOR_ARCHITECTURE
from model_provisioner.domain.model_facts import GGUFSummary


def why_not_served(summary: GGUFSummary | None) -> str | None:
    """Why no engine serves the file by itself, the end of a message; None if one can, or if the header is not known."""
    if summary and summary.architecture == PROJECTOR_ARCHITECTURE:
        return "is a multimodal projector, not a model"
    if summary and summary.adapter:
        return "is an adapter (LoRA), which is loaded beside the model that it was made for"
    return None
