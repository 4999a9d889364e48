"""The repositories of the hub: files, commits, branches and tags, with the git and LFS identities of each file.

Called by tests, which add files, and by the origins. Nothing about HTTP belongs here. A file comes from bytes or from a
path on the disk, which is read when the file is served and must not change.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_LFS_SUFFIXES = (".gguf", ".safetensors", ".bin", ".imatrix")
_LFS_ABOVE = 10 * 1024 * 1024  # larger files are refused by the real hub unless they are LFS
_ATTRIBUTES = "".join(f"*{suffix} filter=lfs diff=lfs merge=lfs -text\n" for suffix in _LFS_SUFFIXES).encode()


def git_blob_id(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


@dataclass(frozen=True)
class StoredFile:
    """One version of one file. An LFS file's `oid` is the blob id of its pointer, not of its content."""

    path: str
    size: int
    sha256: str
    oid: str
    pointer_size: int | None  # None: a plain git file
    source: bytes | Path = field(repr=False)

    @property
    def is_lfs(self) -> bool:
        return self.pointer_size is not None

    @property
    def xet_hash(self) -> str:
        """64 hex digits other than the SHA-256. As on the real hub, the content host's ETag is this hash."""
        return hashlib.sha256(b"xet" + self.sha256.encode()).hexdigest()

    def read(self, start: int, stop: int) -> bytes:
        if isinstance(self.source, bytes):
            return self.source[start:stop]
        with self.source.open("rb", buffering=0) as file:
            file.seek(start)
            return file.read(stop - start)


def store_file(path: str, source: bytes | Path, *, lfs: bool | None = None) -> StoredFile:
    """Reads `source` once for its digest; `lfs` None decides by name and size, as `.gitattributes` would."""
    size = len(source) if isinstance(source, bytes) else source.stat().st_size
    sha256 = _sha256(source)
    if lfs is None:
        lfs = path.lower().endswith(_LFS_SUFFIXES) or size > _LFS_ABOVE
    if lfs:
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {size}\n".encode()
        return StoredFile(path, size, sha256, git_blob_id(pointer), len(pointer), source)
    content = source if isinstance(source, bytes) else source.read_bytes()
    return StoredFile(path, size, sha256, git_blob_id(content), None, source)


def _sha256(source: bytes | Path) -> str:
    if isinstance(source, bytes):
        return hashlib.sha256(source).hexdigest()
    with source.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True)
class Commit:
    sha: str  # 40 hex digits
    files: Mapping[str, StoredFile]


class Repository:
    """A model repository with history: every change makes a commit, and every commit stays resolvable.

    `private`, `gated`, `disabled` and `tokens` (those that may read its files) may be changed while the hub runs, as
    may `former_names`, which redirect to its name, and `omits`: fields that a mirror leaves out of the description of
    the repository (`sha`, `id`, `siblings`; `size` and `lfs` of each file).
    """

    def __init__(self, name: str, *, private: bool, gated: bool, disabled: bool, tokens: frozenset[str]) -> None:
        self.name = name
        self.private = private
        self.gated = gated
        self.disabled = disabled
        self.tokens = tokens
        self.former_names: set[str] = set()
        self.omits: frozenset[str] = frozenset()
        self.branches: dict[str, str] = {}
        self.tags: dict[str, str] = {}
        self._commits: dict[str, Commit] = {}
        self._blobs: dict[tuple[str, str], StoredFile] = {}
        self.add(".gitattributes", _ATTRIBUTES)

    @property
    def commit(self) -> str:
        """The commit of `main`."""
        return self.branches["main"]

    def add(self, path: str, data: bytes | Path, *, branch: str = "main", lfs: bool | None = None) -> str:
        """Adds or replaces a file; returns the new commit."""
        file = store_file(path, data, lfs=lfs)
        self._blobs[file.sha256, path] = file
        return self._commit(branch, {**self._files(branch), path: file})

    def add_all(self, files: Mapping[str, bytes], *, branch: str = "main") -> str:
        """Adds or replaces many files in one commit; returns it."""
        stored = {path: store_file(path, data) for path, data in files.items()}
        self._blobs |= {(file.sha256, path): file for path, file in stored.items()}
        return self._commit(branch, {**self._files(branch), **stored})

    def remove(self, path: str, *, branch: str = "main") -> str:
        """Removes a file from the branch; returns the new commit. Older commits still have it."""
        files = self._files(branch)
        del files[path]
        return self._commit(branch, files)

    def damage(self, commit: str, path: str, data: bytes) -> None:
        """Serves `data` at the address of a file of `commit`, which was described with other bytes before."""
        file = store_file(path, data)
        self._blobs[file.sha256, path] = file
        self._commits[commit] = Commit(commit, {**self._commits[commit].files, path: file})

    def branch(self, name: str, commit: str | None = None) -> str:
        """Creates or moves a branch to `commit`, by default that of `main`; returns the commit."""
        self.branches[name] = commit or self.commit
        return self.branches[name]

    def tag(self, name: str, commit: str | None = None) -> str:
        """Creates or moves a tag to `commit`, by default that of `main`; returns the commit."""
        self.tags[name] = commit or self.commit
        return self.tags[name]

    def find(self, revision: str) -> Commit | None:
        """The commit that a branch, a tag, a full sha or a short one (7 digits at least) names."""
        sha = self.branches.get(revision) or self.tags.get(revision)
        if sha is None and len(revision) >= 7:
            sha = next((known for known in self._commits if known.startswith(revision)), None)
        return self._commits[sha] if sha else None

    def blob(self, sha256: str, path: str) -> StoredFile | None:
        """A file of any commit, by digest and path."""
        return self._blobs.get((sha256, path))

    def _files(self, branch: str) -> dict[str, StoredFile]:
        return dict(self._commits[self.branches[branch]].files) if branch in self.branches else {}

    def _commit(self, branch: str, files: Mapping[str, StoredFile]) -> str:
        tree = "".join(f"{path} {file.oid}\n" for path, file in sorted(files.items()))
        seed = f"{self.name}\n{branch}\n{self.branches.get(branch)}\n{len(self._commits)}\n{tree}"
        sha = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
        self._commits[sha] = Commit(sha, dict(sorted(files.items())))
        self.branches[branch] = sha
        return sha
