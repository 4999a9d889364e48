"""Which files of a repository a ref means, each with its role in the plan.

Called by the sources that are repositories: `huggingface` and `modelscope`. The rules are in `domain.refs.selection`
and `domain.refs.projectors`.
"""

from collections.abc import Sequence

from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.refs.parts import is_gguf
from model_provisioner.domain.refs.projectors import projector_of
from model_provisioner.domain.refs.selection import select


def chosen_files(paths: Sequence[str], selector: str | None, *, projector: bool) -> dict[str, FileRole]:
    """The files of the model in order, then its projector if one is wanted. Raises what both rules raise."""
    model = select(paths, selector)
    chosen = dict.fromkeys(model, FileRole.NAMED if selector and is_gguf(selector) else FileRole.MODEL)
    if projector:
        chosen[projector_of(paths, model[0])] = FileRole.PROJECTOR
    return chosen


def of_model(chosen: dict[str, FileRole]) -> list[str]:
    """The files of the model alone."""
    return [path for path, role in chosen.items() if role is not FileRole.PROJECTOR]
