"""How much the name of a file looks like that of a model, and which files therefore are candidates.

`domain.model_files.selection` has the rule in words; it and `domain.model_files.quantizations` call this. The table is
for names of publishers on the hub. What a file is, its header tells, see `domain.gguf.header`.
"""

import re
from collections.abc import Sequence
from enum import IntEnum

from model_provisioner.domain.model_files.parts import ListedModel


class Standing(IntEnum):
    """How much a file's name looks like that of a model; a lower number is better."""

    MODEL = 0
    VARIANT = 1
    PROBABLY_DRAFTER = 2
    DRAFTER = 3
    PROJECTOR_OR_MATRIX = 4


_DIRECTORY, _NAME = 0, 1
_DRAFTERS = "(?:eagle3|dflash|dspark)"
_QUANTIZED = "(?:I?Q[1-8]|TQ[12]|MXFP4|NVFP4)"
_END = r"(?=[-._]|\Z)"
_STANDINGS = tuple(
    (place, re.compile(pattern, re.IGNORECASE | re.DOTALL), standing)
    for place, pattern, standing in (
        (_DIRECTORY, r"(?:^|/)(?:mmproj|imatrix)/", Standing.PROJECTOR_OR_MATRIX),
        (_NAME, "mmproj", Standing.PROJECTOR_OR_MATRIX),
        (_NAME, rf"\Aimatrix{_END}", Standing.PROJECTOR_OR_MATRIX),
        (_NAME, rf"\A(?!.*[-._]{_QUANTIZED}).*[-._]imatrix{_END}", Standing.PROJECTOR_OR_MATRIX),
        (_DIRECTORY, rf"(?:^|/)(?:mtp|{_DRAFTERS})/", Standing.DRAFTER),
        (_NAME, rf"\A(?:mtp|{_DRAFTERS}){_END}", Standing.DRAFTER),
        (_NAME, rf"[-._]{_DRAFTERS}{_END}", Standing.PROBABLY_DRAFTER),
        (_NAME, rf"[-._](?:mtp|imatrix){_END}", Standing.VARIANT),
    )
)
"""Patterns for the directory (with its slash) or the name (without .gguf); the first that matches decides. A path that
none matches is a MODEL. Each pattern looks at a character a bounded number of times, because names are untrusted."""


def standing_of(model: ListedModel) -> Standing:
    """The first line of the table that the name fits."""
    directory, slash, name = model.stem.rpartition("/")
    texts = (directory + slash, name)
    return next((standing for place, pattern, standing in _STANDINGS if pattern.search(texts[place])), Standing.MODEL)


def candidates_of(models: Sequence[ListedModel]) -> list[ListedModel]:
    """The models and the variants; if there are none, those of the next best standing."""
    standings = list(map(standing_of, models))
    worst = max(min(standings, default=Standing.MODEL), Standing.VARIANT)
    return [model for model, standing in zip(models, standings, strict=True) if standing <= worst]


def tiers(candidates: Sequence[ListedModel]) -> list[list[ListedModel]]:
    """The candidates of each standing, the best first."""
    found: dict[Standing, list[ListedModel]] = {}
    for model in candidates:
        found.setdefault(standing_of(model), []).append(model)
    return [found[standing] for standing in sorted(found)]
