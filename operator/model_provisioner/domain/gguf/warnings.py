"""What a user must know of a model that is published and that not every program can load.

`domain.lifecycle.snapshot` puts it into the message of a Ready object, `transfer.cli.fetch` prints it. A file that no
program can load is an error of `domain.gguf.header`.
"""

from model_provisioner.domain.model_facts import GGUFSummary


def unknown_types_warning(gguf: GGUFSummary) -> str | None:
    """A clause about tensor types that llama.cpp does not know; None if the model has none."""
    types = gguf.unknown_tensor_types
    if not types:
        return None
    names = f"tensor type{'s' * (len(types) > 1)} {', '.join(map(str, types))}"
    return (
        f"warning: llama.cpp does not know its {names}; load it with a program that does, such as ik_llama.cpp "
        "or a later llama.cpp"
    )
