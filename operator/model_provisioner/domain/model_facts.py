"""What a worker reports of a model: its files, what its GGUF header says, and what its source says beside that.

`domain.modeldownload` has them in the status. They are apart from it because a worker needs nothing else of the
resource.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FileRecord:
    """One published file; `path` is relative to the root of its volume."""

    path: str
    size_bytes: int
    digest: str | None = None


@dataclass(frozen=True, slots=True)
class GGUFSummary:
    """What the GGUF header says about a model, for users and schedulers.

    `unknown_tensor_types` are the numbers of tensor types that are not in llama.cpp, in ascending order; None if there
    are none. `base_model` names the model that it was made of (`domain.gguf.base_model`). `adapter` is True for a LoRA
    adapter, which is no model of its own, else None.
    """

    architecture: str | None = None
    name: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    license: str | None = None
    chat_template: bool = False
    unknown_tensor_types: tuple[int, ...] | None = None
    base_model: str | None = None
    adapter: bool | None = None


@dataclass(frozen=True, slots=True)
class OllamaSettings:
    """What Ollama publishes with a model beside its weights, as it is written there; None: the model has none.

    `template` is the template of a prompt, in the language of Go (text/template), `parameters` a JSON object with the
    names of Ollama (`stop`, `temperature`), `system` the system prompt. `omitted` are the names of fields that the
    model has and that are left out, in alphabetical order; None if there are none.
    """

    template: str | None = None
    parameters: str | None = None
    system: str | None = None
    omitted: tuple[str, ...] | None = None
