"""Decides where the files of a model lie below the root of a volume, and which names may become a path.

File names come from repositories, so they are untrusted until `check_name` accepted them. `transfer.sources` calls
`store_path`; the store calls `check_name` before it opens a file. Whether a path is already in use is decided in
`domain.store.holders`.
"""

import unicodedata
from urllib.parse import quote

from model_provisioner.domain.errors import UnsupportedSource
from model_provisioner.domain.refs.file_names import is_visible
from model_provisioner.domain.refs.refs import HuggingFaceRef, LocalRef, ModelRef

HUGGING_FACE_ROOT = "hf"
LOCAL_ROOT = "local"
FETCHED_ROOTS = (HUGGING_FACE_ROOT,)  # only fetched files lie below these
PRIVATE = ".provisioner"

_MAIN = "main"
_MAX_PART_BYTES = 255  # NAME_MAX of every common file system
_COMMIT_DIGITS = 12
_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line and paragraph separators


def repository_directory(ref: HuggingFaceRef, revision_label: str | None) -> str:
    """`hf/<owner>/<repo>`, or `…@<label, percent-encoded>` for a label other than the main branch."""
    label = f"@{quote(revision_label, safe='')}" if revision_label not in {None, "", _MAIN} else ""
    return f"{HUGGING_FACE_ROOT}/{ref.repository}{label}"


def store_path(ref: ModelRef, repo_path: str | None = None) -> str:
    """The path below the volume's root of the file `repo_path` in the ref's repository (None for `local:`).

    Raises UnsupportedSource for a name that is not safe as a path, and for one in a repository that has an invisible
    character. Files in `local:` were named by the user of the volume.
    """
    if isinstance(ref, LocalRef):
        return check_name(f"{LOCAL_ROOT}/{ref.path}")
    if repo_path is None:
        raise ValueError(f"{ref} names a repository: which file of it?")
    if not is_visible(repo_path):
        raise _refused(repo_path, "it has a character that is invisible or changes the direction of the text")
    return check_name(f"{repository_directory(ref, ref.revision)}/{repo_path}")


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
    """`hf/<owner>/<repo>@<first 12 digits of commit>/<file>`; None if the source of the path has no revisions."""
    root, *rest = path.split("/", 3)
    if root != HUGGING_FACE_ROOT or len(rest) != 3:
        return None
    owner, repo, file = rest
    return f"{root}/{owner}/{repo.partition('@')[0]}@{commit[:_COMMIT_DIGITS]}/{file}"


def _refused(path: str, why: str) -> UnsupportedSource:
    shown = ascii(path if len(path) <= 120 else path[:117] + "...")
    return UnsupportedSource(f"the file name {shown} can't be stored: {why}; rename it at its source")
