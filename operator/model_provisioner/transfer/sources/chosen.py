"""Which files of a repository a ref means, each with its role in the plan.

Called by the sources that list files: `huggingface`, `modelscope` and `s3`. The rules are in
`domain.model_files.selection` and `domain.model_files.projectors`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TypeVar

from model_provisioner.aio.threads import DetachedThreads
from model_provisioner.domain.gguf.file_role import FileRole
from model_provisioner.domain.model_files.parts import is_gguf
from model_provisioner.domain.model_files.projectors import projector_of
from model_provisioner.domain.model_files.selection import select

_FEW_FILES = 500
T = TypeVar("T")


async def judged(files: Collection[str], threads: DetachedThreads, judge: Callable[[], T]) -> T:
    """The result of `judge`, which takes time for each of `files`: few of them do not wait for those of others."""
    return judge() if len(files) <= _FEW_FILES else await threads.run(judge)


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
