"""Groups the files of a repository into models: a single file, or all parts of a split model.

The other modules of this room work on these models. `part_names` has the names of parts. Raw pieces of one file
(`model.gguf.part1of2`) are not models: they are not joined.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from model_provisioner.domain.errors import IncompleteModel, UnsupportedSource
from model_provisioner.domain.model_files.part_names import MAX_PARTS, PART, numbered
from model_provisioner.domain.model_files.shown_names import enumerated, shown

_SUFFIX = re.compile(r"\.gguf\Z", re.IGNORECASE)
_RAW_PIECE = re.compile(r"\.gguf[._-](?:part|split)", re.IGNORECASE)
_WORD_CHARACTERS = re.compile(r"[\w.-]*")


@dataclass(frozen=True, slots=True)
class ListedModel:
    """One model of a list of files: the `paths` found, in the order of the parts, and how many `parts` it has."""

    paths: tuple[str, ...]
    parts: int = 1

    @property
    def stem(self) -> str:
        """The first path without .gguf."""
        return _SUFFIX.sub("", self.paths[0])

    @property
    def is_whole(self) -> bool:
        """Whether all parts were found, and are not too many."""
        return len(self.paths) == self.parts <= MAX_PARTS


def is_gguf(path: str) -> bool:
    """Whether the name ends in .gguf, in any letter case."""
    return _SUFFIX.search(path) is not None


def models_in(paths: Iterable[str]) -> list[ListedModel]:
    """The models in `paths`, also those that lack parts, in the order of their paths."""
    single: list[ListedModel] = []
    split: dict[tuple[str, str, int], list[str]] = {}
    for path in sorted(set(paths)):
        part = PART.fullmatch(path)
        if part and 1 <= int(part["number"]) <= int(part["count"]):
            split.setdefault((part["stem"], part["end"], int(part["count"])), []).append(path)
        elif is_gguf(path):
            single.append(ListedModel((path,)))
    joined = [ListedModel(tuple(parts), count) for (*_, count), parts in split.items()]
    return sorted([*single, *joined], key=lambda model: model.paths)


def complete(model: ListedModel) -> tuple[str, ...]:
    """The paths of all parts of `model`.

    Raises IncompleteModel if parts are missing, and UnsupportedSource for more than 4,096 parts.
    """
    if model.parts > MAX_PARTS:
        raise UnsupportedSource(
            f"{shown(model.paths[0])} is one of {model.parts} parts, and a model may have {MAX_PARTS}: choose another "
            "model of the repository, or upload it in fewer parts"
        )
    missing = model.parts - len(model.paths)
    if not missing:
        return model.paths
    there = set(model.paths)
    names = numbered(model.paths[0], model.parts)
    raise IncompleteModel(
        f"{missing} of {model.parts} parts are missing in the repository: "
        f"{enumerated([name for name in names if name not in there])}; "
        "choose another model or revision, or upload the parts"
    )


def pieces_in(paths: Iterable[str]) -> list[str]:
    """The raw pieces of models in `paths`, which are not joined."""
    return [path for path in sorted(set(paths)) if _is_piece(path)]


def _is_piece(path: str) -> bool:
    """Whether `.gguf.part…` or the like stands in the word characters, dots and hyphens that end the path."""
    ending = _WORD_CHARACTERS.match(path[::-1])
    return bool(ending and _RAW_PIECE.search(path, len(path) - ending.end()))


def in_pieces(pieces: Sequence[str]) -> UnsupportedSource:
    """The error for a model that is there only in these `pieces`."""
    return UnsupportedSource(
        f"the model is there only in raw pieces, which this version does not join: {enumerated(pieces)}; "
        "choose another quantisation, or a repository that splits models into -00001-of-0000N.gguf files"
    )
