"""Parses model refs, the strings that name models, and prints them in one canonical spelling.

The resource, the HTTP API, the event stream, the catalog and the command line all use this parser. `parse` accepts only
the canonical spelling; `parse_lenient` also accepts what users paste (`hf://…`, the URL of a hub page). What a page
shows is read in `domain.refs.hub_pages`. Which files a ref means is decided in `domain.refs.selection`.
"""

import re
from dataclasses import dataclass

from model_provisioner.domain.errors import InvalidRef, UnsupportedSource
from model_provisioner.domain.refs.hub_pages import read_page

HUGGING_FACE = "https://huggingface.co"

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,253}[A-Za-z0-9_])?")
_QUANTISATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_BRANCHES = frozenset({"main", "master", "latest"})
_NOT_SERVED = ("modelscope:", "https:", "http:", "s3:", "oci:", "ollama:")
_SPELLING = "write hf:<owner>/<repo>[@<revision>][:<quantisation, file.gguf or directory/>] or local:<path>.gguf"


@dataclass(frozen=True, slots=True)
class HuggingFaceRef:
    """A model in a Hugging Face repository.

    `selector` is a quantisation, a path that ends in .gguf, or the path of a directory, which ends in a slash.
    """

    owner: str
    repo: str
    revision: str | None = None
    selector: str | None = None

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.repo}"

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        selector = f":{self.selector}" if self.selector else ""
        return f"hf:{self.repository}{revision}{selector}"


@dataclass(frozen=True, slots=True)
class LocalRef:
    """A file below `local/` of the volume, put there by a user. `path` is relative to `local/`."""

    path: str

    def __str__(self) -> str:
        return f"local:{self.path}"


ModelRef = HuggingFaceRef | LocalRef


def parse(text: str) -> ModelRef:
    """Parses a ref in its canonical spelling: `str(parse(text)) == text`.

    Raises InvalidRef, with what to write instead, and UnsupportedSource for a source that this version does not serve.
    """
    scheme, colon, rest = text.partition(":")
    if not colon or rest.startswith("//"):
        raise _misspelled(text)
    if scheme == "hf":
        return _parse_hugging_face(text, rest)
    if scheme == "local":
        return LocalRef(_model_path(text, rest))
    if text.startswith(_NOT_SERVED):
        raise UnsupportedSource(f"{scheme}: models are not served by this version: use hf: or local:")
    raise _misspelled(text)


def parse_lenient(text: str) -> ModelRef:
    """Like `parse`, and accepts `hf://owner/repo…` and URLs of Hugging Face pages too. Raises the same errors."""
    text = text.strip()
    if text.startswith("hf://"):
        return parse("hf:" + text.removeprefix("hf://"))
    page = read_page(text)
    if page is not None:
        return _hugging_face(text, page.repository, page.revision, page.selector)
    return parse(text)


def _parse_hugging_face(text: str, rest: str) -> HuggingFaceRef:
    head, has_selector, selector = rest.partition(":")
    repository, has_revision, revision = head.partition("@")
    return _hugging_face(text, repository, revision if has_revision else None, selector if has_selector else None)


def _hugging_face(text: str, repository: str, revision: str | None, selector: str | None) -> HuggingFaceRef:
    owner, slash, repo = repository.partition("/")
    if not slash or not _is_name(owner) or not _is_name(repo):
        raise InvalidRef(f"{_shown(text)}: {_shown(repository)} is not <owner>/<repo>: {_SPELLING}")
    if revision is not None and not _is_revision(revision):
        raise InvalidRef(f"{_shown(text)}: {_shown(revision)} is not a revision: write a branch, tag or commit after @")
    return HuggingFaceRef(owner, repo, revision, None if selector is None else _selector(text, selector))


def _is_name(name: str) -> bool:
    """The hub's rule for names of owners and repositories (huggingface_hub `validate_repo_id`)."""
    return bool(_NAME.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


def _is_revision(revision: str) -> bool:
    """Git's rule for ref names (git-check-ref-format), limited to characters that our refs allow."""
    parts = revision.split("/")
    return bool(_REVISION.fullmatch(revision)) and ".." not in revision and all(parts)


def _selector(text: str, selector: str) -> str:
    if selector.lower().endswith(".gguf"):
        return _model_path(text, selector)
    if selector.endswith("/"):
        return f"{_path(text, selector.removesuffix('/'), 'a directory and a slash')}/"
    if selector.lower() in _BRANCHES:
        raise InvalidRef(f"{_shown(text)}: a revision is written @{selector}, after : stands a quantisation or a file")
    if not _QUANTISATION.fullmatch(selector):
        raise InvalidRef(
            f"{_shown(text)}: {_shown(selector)} is neither a quantisation such as Q4_K_M nor a path that ends in "
            ".gguf or in a slash"
        )
    return selector


def _model_path(text: str, path: str) -> str:
    if not path.lower().endswith(".gguf"):
        raise InvalidRef(f"{_shown(text)}: {_shown(path)} must be a path that ends in .gguf")
    return _path(text, path, "a path that ends in .gguf")


def _path(text: str, path: str, what: str) -> str:
    hostile = any(ord(char) < 32 or ord(char) == 127 or char in "\\:" for char in path)
    if hostile or len(path) > 512:
        raise InvalidRef(
            f"{_shown(text)}: {_shown(path)} must be {what}, of at most 512 characters without ':', '\\' or controls"
        )
    if any(part in {"", ".", ".."} or len(part.encode()) > 255 for part in path.split("/")):
        raise InvalidRef(f"{_shown(text)}: {_shown(path)} must be relative, without empty, '.' or '..' parts")
    return path


def _misspelled(text: str) -> InvalidRef:
    return InvalidRef(f"{_shown(text)} is not a model ref: {_SPELLING}")


def _shown(text: str) -> str:
    """The user's text, shortened and printable, because messages go to terminals and logs."""
    return repr(text if len(text) <= 120 else text[:117] + "…")
