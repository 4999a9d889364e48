"""What every kind of model ref is, and the rules of spelling that several of them share.

Each kind is one file beside this one; `domain.refs.refs` has the table of them. A file of a kind decides its grammar,
its directory on a volume, its endpoint and which keys of a Secret it takes. How a source is asked does not belong here.
"""

import re
from abc import ABC, abstractmethod
from typing import ClassVar, Self

from model_provisioner.domain.credentials.secret_keys import SecretKind
from model_provisioner.domain.errors import InvalidRef

_QUANTISATION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}[A-Za-z0-9])?")
_BRANCHES = frozenset({"main", "master", "latest"})
MAX_PATH_CHARACTERS = 512


class ModelRef(ABC):
    """A parsed ref. `str` of it is its one canonical spelling.

    `schemes` are what stands before the first colon. `root` is the directory of the volume below which its files lie.
    `spelling` is shown to users. `default_endpoint` is the URL that is asked unless the administrator names another
    one; None if the ref itself says what is asked. With `names_endpoint`, the directory has the endpoint's host in its
    name; else the files of another endpoint than the administrator's lie in a directory of that endpoint.
    `secret_kinds` are the credentials that a Secret may hold for it.
    """

    __slots__ = ()

    schemes: ClassVar[tuple[str, ...]]
    root: ClassVar[str]
    spelling: ClassVar[str]
    default_endpoint: ClassVar[str | None] = None
    names_endpoint: ClassVar[bool] = False
    secret_kinds: ClassVar[tuple[SecretKind, ...]] = ()

    @classmethod
    @abstractmethod
    def parse(cls, text: str) -> Self:
        """The ref that `text` spells; its scheme is one of `schemes`. Raises InvalidRef with what to write instead."""

    @abstractmethod
    def directory(self, endpoint: str | None) -> str:
        """Where the files of the model lie below the root of a volume. `endpoint` is the URL that is asked."""

    @property
    @abstractmethod
    def words(self) -> str:
        """What a readable name of an object is made from."""

    @property
    def endpoint(self) -> str | None:
        """The URL that the ref itself says is asked; None if the administrator's endpoint is."""
        return None

    @property
    def scheme(self) -> str:
        return str(self).partition(":")[0]


def checked_selector(text: str, selector: str) -> str:
    """`selector` if it is a quantisation, a path that ends in .gguf, or a directory with a slash at its end."""
    if selector.lower().endswith(".gguf"):
        return checked_model_path(text, selector)
    if selector.endswith("/"):
        return f"{checked_path(text, selector.removesuffix('/'), 'a directory and a slash, such as team/')}/"
    if selector.lower() in _BRANCHES:
        raise InvalidRef(f"{shown(text)}: a revision is written @{selector}, after : stands a quantisation or a file")
    if not is_quantisation(selector):
        raise InvalidRef(
            f"{shown(text)}: {shown(selector)} does not say which model: write a quantisation such as Q4_K_M, or a "
            "path that ends in .gguf or /"
        )
    return selector


def is_quantisation(selector: str) -> bool:
    return bool(_QUANTISATION.fullmatch(selector))


def checked_model_path(text: str, path: str) -> str:
    """`path` if it is relative, safe and ends in .gguf. Raises InvalidRef."""
    wanted = "a path that ends in .gguf, such as team/model.gguf"
    if not path.lower().endswith(".gguf"):
        raise InvalidRef(f"{shown(text)}: {shown(path)} must be {wanted}")
    return checked_path(text, path, wanted)


def checked_path(text: str, path: str, what: str) -> str:
    """`path` if it is relative and safe; `what` says what it should be. Raises InvalidRef."""
    hostile = any(ord(char) < 32 or ord(char) == 127 or char in "\\:" for char in path)
    if hostile or len(path) > MAX_PATH_CHARACTERS:
        raise InvalidRef(
            f"{shown(text)}: {shown(path)} must be {what}, of at most 512 characters without ':', '\\' or controls"
        )
    if any(part in {"", ".", ".."} or len(part.encode()) > 255 for part in path.split("/")):
        raise InvalidRef(f"{shown(text)}: {shown(path)} must be {what}, relative and without empty, '.' or '..' parts")
    return path


def check_no_login(text: str, keys: str) -> None:
    """Raises InvalidRef if there is a user name or a password before the host in `text`. They belong under `keys`."""
    authority = text.partition("//")[2].partition("/")[0]
    if "@" in authority and "@sha256:" not in authority:
        raise InvalidRef(
            "the address has a user name or a password, and a ref is public: write it without them, and put them "
            f"into a Secret, under {keys}"
        )


def shown(text: str) -> str:
    """The user's text, shortened and printable, because messages go to terminals and logs."""
    return repr(text if len(text) <= 120 else text[:117] + "…")
