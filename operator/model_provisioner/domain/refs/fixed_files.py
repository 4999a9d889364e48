"""Says at which paths the files of a ref lie, if that follows from the ref without asking the source.

`wait.command` calls this. The paths that a source finds are decided in `transfer.sources`, and those that a store
settles in `domain.store.holders`: if another object holds different bytes at a path, the newer files lie elsewhere.
"""

from model_provisioner.domain.model_files.part_names import parts_of
from model_provisioner.domain.refs.https import HttpsRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.repository import RepositoryRef
from model_provisioner.domain.refs.s3 import S3Ref


def fixed_files(ref: ModelRef, endpoint: str | None = None) -> tuple[str, ...] | None:
    """The paths of all files of the model below the root of a volume, the one to load first; None if they don't follow.

    `endpoint` is the URL that is asked for an object in a bucket; None means Amazon's. A source that is chosen from, a
    quantisation or a tag, says only when it is asked which files are meant.
    """
    file = _file(ref)
    return None if file is None else parts_of(f"{ref.directory(endpoint)}/{file}")


def _file(ref: ModelRef) -> str | None:
    """The path of the file that `ref` names, relative to the model's directory; None if it names none."""
    match ref:
        case RepositoryRef(selector=str(selector)) if selector.lower().endswith(".gguf"):
            return selector
        case S3Ref() if not ref.is_prefix:
            return ref.key
        case HttpsRef():
            return ref.file
        case LocalRef():
            return ref.path
        case _:
            return None
