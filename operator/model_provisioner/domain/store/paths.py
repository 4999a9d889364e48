"""Decides where the files of a model lie below the root of a volume, and which names may become a path.

File names come from repositories, so they are untrusted until `check_name` accepted them. `transfer.sources` calls
`store_path`; the store calls `check_name` before it opens a file. Whether a path is already in use is decided in
`domain.store.holders`.
"""

import hashlib
import unicodedata

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.model_files.file_names import is_visible
from model_provisioner.domain.network.addresses import Origin
from model_provisioner.domain.refs.hugging_face import HuggingFaceRef
from model_provisioner.domain.refs.local import LocalRef
from model_provisioner.domain.refs.model_ref import ModelRef
from model_provisioner.domain.refs.refs import KINDS
from model_provisioner.domain.refs.repository import RepositoryRef

HUBS_ROOT = "hubs"
LOCAL_ROOT = LocalRef.root
FETCHED_ROOTS = (
    *(kind.root for kind in KINDS if kind is not LocalRef),
    HUBS_ROOT,
)  # only fetched files lie below these
_REPOSITORY_ROOTS = frozenset(kind.root for kind in KINDS if issubclass(kind, RepositoryRef))
PRIVATE = ".provisioner"
OLLAMA_VIEW = ("views", "ollama")
OLLAMA_BLOBS = (*OLLAMA_VIEW, "blobs")  # may have hard links of published files

_MAX_PART_BYTES = 255  # NAME_MAX of every common file system
MAX_PATH_BYTES = 3840  # PATH_MAX of Linux (4096), less a mount point: a longer path can't be opened by a program
_COMMIT_DIGITS = 12
_HUB_DIGITS = 16
_MAX_HOST_CHARACTERS = 100
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators


def hub_directory(endpoint: str, root: str) -> str:
    """`hubs/<host>-<hash of the URL>`: the directory of a hub that is not the operator's own.

    It keeps the files of different hubs apart: two hubs can use one name, one commit and one digest for different
    bytes, and a file that one of them gave is not a file that the other one would give to the same caller.
    `endpoint` is the normalised URL; `root` is that of the source, of which one server can serve several.
    """
    host = Origin.of(endpoint).host.replace(":", "_")[:_MAX_HOST_CHARACTERS]
    identity = endpoint if root == HuggingFaceRef.root else f"{root} {endpoint}"
    return f"{HUBS_ROOT}/{host}-{hashlib.sha256(identity.encode()).hexdigest()[:_HUB_DIGITS]}"


def store_path(ref: ModelRef, file: str, endpoint: str | None = None, *, own: bool = True) -> str:
    """The path below the volume's root of the file `file` of the model, which is relative to the model's directory.

    `endpoint` is the normalised URL that is asked; `own` says that it is the operator's, or the ref's own.

    Raises UnsupportedSource for a name that is not safe as a path, and for one in a repository that has an invisible
    character. Files in `local:` were named by the user of the volume.
    """
    if not isinstance(ref, LocalRef) and not is_visible(file):
        raise _refused(file, "it has a character that is invisible or changes the direction of the text")
    directory = ref.directory(endpoint)
    if endpoint is not None and not own and ref.default_endpoint and not ref.names_endpoint:
        directory = hub_directory(endpoint, ref.root) + directory.removeprefix(ref.root)
    return check_name(f"{directory}/{file}")


def check_name(path: str) -> str:
    """Returns `path` if it is a relative path of a model file that is safe below a volume's root.

    Raises UnsupportedSource otherwise.
    """
    if any(char == "\\" or unicodedata.category(char) in _UNPRINTABLE for char in path):
        raise _refused(path, "it has a backslash or a control character")
    if not path.lower().endswith(".gguf"):
        raise _refused(path, "it does not end in .gguf")
    for part in path.split("/"):
        _check_part(path, part)
    if len(path.encode()) > MAX_PATH_BYTES:
        raise _refused(path, f"with its directories it is longer than {MAX_PATH_BYTES} bytes")
    return path


def is_safe(path: str) -> bool:
    """Whether `check_name` accepts the path."""
    try:
        check_name(path)
    except UnsupportedSource:
        return False
    return True


def _check_part(path: str, part: str) -> None:
    if part in {"", ".", ".."}:
        raise _refused(path, "it is absolute or has an empty, '.' or '..' part")
    if len(part.encode()) > _MAX_PART_BYTES:
        raise _refused(path, f"a part of it is longer than {_MAX_PART_BYTES} bytes")
    if part.casefold() == PRIVATE:
        raise _refused(path, f"{PRIVATE} belongs to the store")


def is_local(path: str) -> bool:
    """Whether the file was put there by a user. Such a file is never renamed, chmod'ed or deleted."""
    return path.startswith(f"{LOCAL_ROOT}/")


def with_commit(path: str, commit: str) -> str | None:
    """`path` below `…/<repo>@<first 12 digits of commit>`; None if the source of the path has no revisions."""
    above, rest = _split_hub(path)
    if above is None or len(rest) != 3:
        return None
    owner, repo, file = rest
    return f"{above}/{owner}/{repo.partition('@')[0]}@{commit[:_COMMIT_DIGITS]}/{file}"


def _split_hub(path: str) -> tuple[str | None, list[str]]:
    """The directory of the hub that `path` is below, and owner, repository and path in it; None if it is of no hub."""
    root, *rest = path.split("/", 3)
    if root in _REPOSITORY_ROOTS:
        return root, rest
    if root != HUBS_ROOT or not rest:
        return None, rest
    return f"{root}/{rest[0]}", path.split("/", 4)[2:]


def _refused(path: str, why: str) -> UnsupportedSource:
    shown = ascii(path if len(path) <= 120 else path[:117] + "...")
    return UnsupportedSource(f"the file name {shown} can't be stored: {why}; rename it at its source")
