"""Which token may read which repository, and the status, error code and message of a refusal.

Called by `api` and `resolve`. The refusals are the real hub's, as `huggingface_hub` 2.4 reads them (utils/_http.py,
hf_raise_for_status): a missing and a private repository look the same without a token, 401 without an error code; only
its message distinguishes a bad token.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.support.hub.repositories import Commit, Repository, StoredFile


@dataclass(frozen=True)
class Refusal:
    status: int
    code: str | None  # X-Error-Code
    message: str  # X-Error-Message, and `error` in the body
    headers: Mapping[str, str] = field(default_factory=dict)


class Refused(Exception):
    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.message)
        self.refusal = refusal


_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="Authentication required", charset="UTF-8"'}
UNKNOWN_TO_STRANGER = Refusal(401, None, "Invalid username or password.", _CHALLENGE)
BAD_TOKEN = Refusal(401, None, "Invalid credentials in Authorization header", _CHALLENGE)
REPOSITORY_NOT_FOUND = Refusal(404, "RepoNotFound", "Repository not found")
DISABLED = Refusal(403, None, "Access to this resource is disabled.")


def _gated(name: str, token: str | None) -> Refusal:
    if token is None:
        message = f"Access to model {name} is restricted. You must have access to it and be authenticated to access it."
        return Refusal(401, "GatedRepo", message + " Please log in.", _CHALLENGE)
    message = f"Access to model {name} is restricted and you are not in the authorized list."
    return Refusal(403, "GatedRepo", message + f" Visit https://huggingface.co/{name} to ask for access.")


class Repositories:
    """All repositories of a hub. `tokens` are tokens of accounts that exist and may read no private repository."""

    def __init__(self) -> None:
        self._by_name: dict[str, Repository] = {}
        self.tokens: set[str] = set()

    def create(self, repository: Repository) -> Repository:
        self._by_name[repository.name] = repository
        return repository

    def get(self, name: str) -> Repository | None:
        return self._by_name.get(name)

    def moved_to(self, name: str) -> str | None:
        """The name of the repository with this former name, or with this name in other letter case."""
        if name in self._by_name:
            return None
        for repository in self._by_name.values():
            if name in repository.former_names or name.lower() == repository.name.lower():
                return repository.name
        return None

    def listed(self, name: str, token: str | None) -> Repository:
        """The repository if `token` may see its metadata; gated repositories are visible without a token.

        Raises Refused.
        """
        if token is not None and token not in self.known_tokens:
            raise Refused(BAD_TOKEN)
        repository = self._by_name.get(name)
        if repository is None or (repository.private and token not in repository.tokens):
            raise Refused(UNKNOWN_TO_STRANGER if token is None else REPOSITORY_NOT_FOUND)
        if repository.disabled:
            raise Refused(DISABLED)
        return repository

    def readable(self, name: str, token: str | None) -> Repository:
        """The repository if `token` may read its files. Raises Refused."""
        repository = self.listed(name, token)
        if repository.gated and token not in repository.tokens:
            raise Refused(_gated(name, token))
        return repository

    @property
    def known_tokens(self) -> set[str]:
        return self.tokens.union(*(repository.tokens for repository in self._by_name.values()))


def commit_of(repository: Repository, revision: str) -> Commit:
    commit = repository.find(revision)
    if commit is None:
        raise Refused(Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}"))
    return commit


def file_of(commit: Commit, path: str) -> StoredFile:
    file = commit.files.get(path)
    if file is None:
        raise Refused(Refusal(404, "EntryNotFound", "Entry not found", {"X-Repo-Commit": commit.sha}))
    return file
