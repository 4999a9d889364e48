"""What a worker reports of a published model: its files, and what its GGUF header says.

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
    are none.
    """

    architecture: str | None = None
    name: str | None = None
    parameters: int | None = None
    quantization: str | None = None
    context_length: int | None = None
    license: str | None = None
    chat_template: bool = False
    unknown_tensor_types: tuple[int, ...] | None = None
