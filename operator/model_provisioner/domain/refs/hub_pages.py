"""Reads the parts of a ref from the address of a Hugging Face page, as users copy it from a browser.

`domain.refs.refs` calls `read_page`, and decides whether the parts are a ref. The addresses are those of the hub:
`/<owner>/<repo>`, then `/tree/<revision>/<directory>` or `/blob/<revision>/<file>`, with the slashes of a revision
percent-encoded except in `refs/pr/<number>`; `?show_file_info=<file>` opens a file, with its path in the repository.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from urllib.parse import parse_qs, unquote, urlsplit

from model_provisioner.domain.errors import InvalidRef

_HUB = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)(?::[0-9]+)?(?=[/?#]|\Z)", re.IGNORECASE)
_FILE_PAGES = frozenset({"blob", "resolve", "raw", "blame"})
_TREE_PAGES = frozenset({"tree", "commit", "commits"})
_MAIN = "main"
_NO_TAG = "latest"  # Ollama's, for the default
_NO_MODELS: Mapping[str, str] = MappingProxyType(
    {
        "api": "an address of the API",
        "blog": "an article",
        "buckets": "a bucket",
        "collections": "a collection",
        "datasets": "a data set",
        "docs": "documentation",
        "learn": "a course",
        "organizations": "an organization",
        "papers": "a paper",
        "posts": "a post",
        "spaces": "a space",
    }
)
"""First part of an address that names no model → what it is."""


@dataclass(frozen=True, slots=True)
class HubPage:
    """What a page shows. None of it is checked.

    `repository` is `<owner>/<repo>`. `revision` is None for the main branch. `selector` is a file, a directory with a
    slash at its end, or what follows a colon, as Ollama writes it.
    """

    repository: str
    revision: str | None = None
    selector: str | None = None


def read_page(text: str) -> HubPage | None:
    """What the page at the address `text` shows; None if it is not an address of the hub.

    Raises InvalidRef for a page that shows no files of a model, with what to write instead.
    """
    host = _HUB.match(text)
    if host is None:
        return None
    address = urlsplit(f"https://hub{text[host.end() :]}")
    parts = [unquote(part) for part in address.path.split("/") if part]
    if parts and parts[0] in _NO_MODELS:
        raise InvalidRef(f"{_shown(text)} is {_NO_MODELS[parts[0]]}, not a model: write hf:<owner>/<repo>")
    repo, colon, tag = parts[1].partition(":") if len(parts) > 1 else ("", "", "")
    repository = "/".join([*parts[:1], repo])
    revision, path = _place(text, repository, parts[2:])
    path = _opened(text, path, parse_qs(address.query))
    if colon:
        path = None if tag.lower() == _NO_TAG else tag
    return HubPage(repository, None if revision == _MAIN else revision, path)


def _place(text: str, repository: str, rest: Sequence[str]) -> tuple[str | None, str | None]:
    """The revision and the path that the `rest` of an address names, after the repository."""
    if not rest:
        return None, None
    kind, length = rest[0], 3 if rest[1:2] == ["refs"] else 1
    revision, path = "/".join(rest[1 : 1 + length]), "/".join(rest[1 + length :])
    if kind in _FILE_PAGES:
        return revision, _file(text, path)
    if kind in _TREE_PAGES:
        return revision or None, path if not path or path.lower().endswith(".gguf") else f"{path}/"
    pull_request = f", or hf:{repository}@refs/pr/{rest[1]} for a pull request" if rest[1:] else ""
    raise InvalidRef(
        f"{_shown(text)} shows no files: write hf:{repository} for the model"
        + (pull_request if kind == "discussions" else "")
    )


def _opened(text: str, path: str | None, query: Mapping[str, Sequence[str]]) -> str | None:
    """`path`, or the file that the page has opened."""
    for file in query.get("show_file_info", ()):
        directory = path if path and path.endswith("/") else ""
        return _file(text, file if file.startswith(directory) else f"{directory}{file}")
    return path or None


def _file(text: str, path: str) -> str:
    if not path.lower().endswith(".gguf"):
        raise InvalidRef(f"{_shown(text)} shows no .gguf file: write hf:<owner>/<repo>:<path>.gguf")
    return path


def _shown(text: str) -> str:
    """The user's text, shortened and printable, because messages go to terminals and logs."""
    return repr(text if len(text) <= 120 else text[:117] + "…")
