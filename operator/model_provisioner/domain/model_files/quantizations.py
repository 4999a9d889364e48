"""Quantisations in the names of files: their label for users, and which models one of them selects.

`domain.model_files.selection` has the rule in words and calls `by_quantization`; `quantization_of` is also the label in
the HTTP API and the catalog.
"""

import re
from collections.abc import Iterator, Sequence

from model_provisioner.domain.gguf.format import FILE_TYPES
from model_provisioner.domain.model_files.parts import ListedModel
from model_provisioner.domain.model_files.standings import tiers

_QUANTIZATION = re.compile(
    r"(?:^|(?<=[-._/]))(?:UD-)?"
    r"(?:I?Q[1-8]_(?:K|[01]|XXS|XS|NL|S|M|L|XL)(?:_(?:XXS|XS|S|M|L|XL|[48]_[48]))?"
    r"|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)"
    r"(?=[-._/]|$)"
)


def quantization_of(path: str) -> str | None:
    """The quantisation that a path names, in upper case, as a label for users; None if it names none."""
    directory, _, name = ListedModel((path,)).stem.rpartition("/")
    return _label(name) or _label(directory)


def by_quantization(candidates: Sequence[ListedModel], quantization: str) -> list[ListedModel]:
    """The best matches; several if they match equally well."""
    return next(filter(None, (_labelled(tier, quantization) for tier in tiers(candidates))), [])


def _labelled(tier: Sequence[ListedModel], quantization: str) -> list[ListedModel]:
    names = {model: model.stem.rpartition("/")[2] for model in tier}
    directories = {model: model.paths[0].rpartition("/")[0] for model in tier}
    for texts in (names, directories):
        labelled = [model for model, text in texts.items() if _label(text) == quantization.upper()]
        if labelled:
            return labelled
        for pattern in _patterns(quantization):
            fitting = [model for model, text in texts.items() if pattern.search(text)]
            if fitting:
                return fitting
    return []


def _patterns(quantization: str) -> Iterator[re.Pattern[str]]:
    """Patterns for whole words, the best match first: without the prefix UD- before with it.

    `Q4` and `Q4_K` also match Q4_K_M, but Q6_K does not match Q6_K_L, because Q6_K is a file type itself.
    """
    token = re.escape(quantization)
    is_file_type = quantization.upper() in FILE_TYPES.values()
    for right in ("[-./]",) if is_file_type else ("[-./]", "_"):
        for left in (r"(?<!^UD-)(?<![-._/]UD-)", ""):
            yield re.compile(rf"(?:^|(?<=[-._/])){left}{token}(?=$|{right})", re.IGNORECASE)


def _label(text: str) -> str | None:
    """The last quantisation in `text`: in `model-f32-Q4_K_M`, F32 is the type that the model was made from."""
    found = _QUANTIZATION.findall(text.upper())
    return found[-1] if found else None
