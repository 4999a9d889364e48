"""Refs of models in repositories: `<scheme>:<owner>/<repo>[@<revision>][:<selector>]`.

`domain.refs.hugging_face` and `domain.refs.modelscope` derive from it. Which files a selector means is decided in
`domain.model_files.selection`.
"""

import re
from dataclasses import dataclass
from typing import ClassVar, Self
from urllib.parse import quote

from model_provisioner.domain.errors import InvalidRef
from model_provisioner.domain.refs.model_ref import ModelRef, checked_selector, shown

_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._/-]{0,253}[A-Za-z0-9_])?")


@dataclass(frozen=True, slots=True)
class RepositoryRef(ModelRef):
    """A model in a repository with revisions.

    `selector` is a quantisation, a path that ends in .gguf, or the path of a directory, which ends in a slash.
    `default_branch` is what a ref without a revision means.
    """

    owner: str
    repo: str
    revision: str | None = None
    selector: str | None = None

    default_branch: ClassVar[str]

    @property
    def repository(self) -> str:
        return f"{self.owner}/{self.repo}"

    @property
    def words(self) -> str:
        return f"{self.repo} {self.selector or ''}"

    def directory(self, endpoint: str | None) -> str:  # noqa: ARG002 - see `domain.store.paths.hub_directory`
        """`hf/<owner>/<repo>`, or `…@<revision, percent-encoded>` for another one than the default branch."""
        other = self.revision not in {None, "", self.default_branch}
        return f"{self.root}/{self.repository}" + (f"@{quote(self.revision or '', safe='')}" if other else "")

    def __str__(self) -> str:
        revision = f"@{self.revision}" if self.revision else ""
        selector = f":{self.selector}" if self.selector else ""
        return f"{self.schemes[0]}:{self.repository}{revision}{selector}"

    @classmethod
    def parse(cls, text: str) -> Self:
        head, has_selector, selector = text.partition(":")[2].partition(":")
        repository, has_revision, revision = head.partition("@")
        return cls.of(text, repository, revision if has_revision else None, selector if has_selector else None)

    @classmethod
    def of(cls, text: str, repository: str, revision: str | None, selector: str | None) -> Self:
        """The ref with these parts, of which none is checked. `text` is what the user wrote. Raises InvalidRef."""
        owner, slash, repo = repository.partition("/")
        if not slash or not _is_name(owner) or not _is_name(repo):
            raise InvalidRef(f"{shown(text)}: {shown(repository)} is not <owner>/<repo>: write {cls.spelling}")
        if revision is not None and not _is_revision(revision):
            raise InvalidRef(
                f"{shown(text)}: {shown(revision)} is not a revision: write a branch, a tag or a commit after the @, "
                f"such as @{cls.default_branch}"
            )
        return cls(owner, repo, revision, None if selector is None else checked_selector(text, selector))


def _is_name(name: str) -> bool:
    """The hub's rule for names of owners and repositories (huggingface_hub `validate_repo_id`)."""
    return bool(_NAME.fullmatch(name)) and "--" not in name and ".." not in name and not name.endswith(".git")


def _is_revision(revision: str) -> bool:
    """Git's rule for ref names (git-check-ref-format), limited to characters that our refs allow."""
    parts = revision.split("/")
    return bool(_REVISION.fullmatch(revision)) and ".." not in revision and all(parts)
