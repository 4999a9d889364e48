"""The errors of a selector that means no model, or several, with what to write instead.

`domain.model_files.selection` and `domain.model_files.by_path` raise them. What parts lack is in
`domain.model_files.parts`.
"""

from collections.abc import Sequence

from model_provisioner.domain.errors import AmbiguousModel, SourceNotFound, UnsupportedSource
from model_provisioner.domain.model_files.parts import ListedModel, in_pieces, pieces_in
from model_provisioner.domain.model_files.quantizations import by_quantization, quantization_of
from model_provisioner.domain.model_files.shown_names import enumerated, kinds, shown


def ambiguous(fitting: Sequence[ListedModel], selector: str | None) -> AmbiguousModel:
    """Several models fit the `selector`, None for none."""
    first = fitting[0].paths[0]
    label = None if selector and selector.endswith("/") else quantization_of(first)
    unique = label is not None and [quantization_of(model.paths[0]) for model in fitting].count(label) == 1
    example = f"its quantisation, as in :{label}, or its path, as in" if unique else "its path, as in"
    what = f" {shown(selector)}" if selector else ""
    return AmbiguousModel(f"{len(fitting)} models fit{what}: {listed(fitting)}; name one by {example} :{shown(first)}")


def no_match(
    paths: Sequence[str], candidates: Sequence[ListedModel], selector: str
) -> SourceNotFound | UnsupportedSource:
    """No candidate fits the quantisation `selector`."""
    fitting = by_quantization([ListedModel((piece,)) for piece in pieces_in(paths)], selector)
    if fitting:
        return in_pieces([model.paths[0] for model in fitting])
    return not_found(selector, candidates)


def not_found(selector: str, models: Sequence[ListedModel]) -> SourceNotFound:
    """`selector` names none of `models`."""
    return SourceNotFound(f"{shown(selector)} is not in the repository, which has {listed(models)}; name one of these")


def no_model(paths: Sequence[str]) -> SourceNotFound | UnsupportedSource:
    """There is no GGUF file at all."""
    if pieces := pieces_in(paths):
        return in_pieces(pieces)
    return SourceNotFound(
        f"the repository has no GGUF file, {f'only {kinds(paths)}' if paths else 'nor any other'}: "
        "look for a repository of this model in GGUF, often one whose name ends in -GGUF"
    )


def listed(models: Sequence[ListedModel]) -> str:
    """The first path of each model."""
    return enumerated([model.paths[0] for model in models])
