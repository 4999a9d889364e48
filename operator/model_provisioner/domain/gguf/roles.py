"""Decides whether a GGUF file is of the kind that a plan wants at its place.

`domain.store.plan` names the role of each file. `transfer.download` calls `check_role` as soon as it has the header, so
a file of another kind costs one range. How a header is read is in `domain.gguf.header`.
"""

from model_provisioner.domain.errors import NotGGUF
from model_provisioner.domain.gguf import format as fmt
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.gguf.header import GGUFHeader


def check_role(header: GGUFHeader, role: FileRole) -> None:
    """Raises NotGGUF if the file can't be loaded in its role. The caller adds the name of the file to the message."""
    if role is FileRole.PROJECTOR:
        _check_projector(header)
    elif header.kind == fmt.ADAPTER and role is FileRole.NAMED:
        return
    elif header.kind is not None and header.kind in fmt.OTHER_KINDS:
        what, remedy = fmt.OTHER_KINDS[header.kind]
        raise NotGGUF(f"{what}, not a model: {remedy}")


def _check_projector(header: GGUFHeader) -> None:
    architecture = header.summary.architecture
    if architecture != fmt.PROJECTOR_ARCHITECTURE:
        raise NotGGUF(
            f"not a multimodal projector: its architecture is {architecture or 'not given'}, that of projectors is "
            f"{fmt.PROJECTOR_ARCHITECTURE}; ask for the model without a projector"
        )
