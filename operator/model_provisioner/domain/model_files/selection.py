"""Decides which files of a repository a selector means: one model, with all parts if it is split.

`transfer.sources` calls `select` with the file names that the hub lists. The rules are deterministic, do not depend on
the order of the list, and never choose a model that is only similar to the selector:

1. Files that end in .gguf are models. The parts `…-00001-of-0000N.gguf` are one model.
2. A selector that ends in .gguf is a path, of any of these files. Letter case is ignored if that leaves one file.
3. Each file has a standing, by the first line that its name fits. The words are whole words in any letter case.
   a. Projector or matrix: `mmproj` anywhere in the name; `imatrix` at its front, or in a name without a quantisation;
      or it lies in a directory of one of these names.
   b. Drafter: `mtp`, `eagle3`, `dflash` or `dspark` at the front of the name, or it lies in a directory of that name.
   c. Probably a drafter: `eagle3`, `dflash` or `dspark` elsewhere in the name.
   d. Variant: `mtp` elsewhere (a model with prediction layers), or `imatrix` (a model quantised with a matrix).
   e. Model: everything else.
4. The candidates are the models and the variants. If there are none, all files of the next best standing are, unless
   a model is there in raw pieces, which are not joined.
5. A selector that ends in a slash is a directory. Only the files in it and below it count. Letter case is ignored if
   that leaves one directory. It then goes on as without a selector.
6. Any other selector is a quantisation. It is matched as a whole word against file names, then against directory names,
   so that F16 does not match BF16. A plain name comes before one with the prefix UD-, which some publishers add, and a
   model before a variant.
7. Without a selector: Q4_K_M, else Q8_0, else the only one; of the models, or of the variants if there is no model.
"""

from collections.abc import Sequence

from model_provisioner.domain.model_files.by_path import by_path, inside
from model_provisioner.domain.model_files.file_names import is_visible
from model_provisioner.domain.model_files.parts import ListedModel, complete, in_pieces, is_gguf, models_in, pieces_in
from model_provisioner.domain.model_files.quantizations import by_quantization, quantization_of
from model_provisioner.domain.model_files.refusals import ambiguous, no_match, no_model
from model_provisioner.domain.model_files.shown_names import shown
from model_provisioner.domain.model_files.standings import Standing, candidates_of, standing_of, tiers

_DEFAULTS = ("Q4_K_M", "Q8_0")


def select(paths: Sequence[str], selector: str | None) -> tuple[str, ...]:
    """The paths of the model that `selector` means, a subset of `paths`; the parts of a split model in order.

    Raises AmbiguousModel if several models match, SourceNotFound if none does, IncompleteModel if parts are missing,
    and UnsupportedSource if the repository has the model only as raw pieces or in more than 4,096 parts. Takes time in
    proportion to the characters of `paths`, which are untrusted.
    """
    models = models_in(paths)
    if not models:
        raise no_model(paths)
    if selector is not None and is_gguf(selector):
        return complete(_only(by_path(models, selector), selector))
    in_directory = selector is not None and selector.endswith("/")
    if selector is not None and in_directory:
        paths = inside(paths, selector)
        models = models_in(paths)
    candidates = candidates_of(models)
    if standing_of(candidates[0]) > Standing.VARIANT and (pieces := pieces_in(paths)):
        raise in_pieces(pieces)
    if selector is None or in_directory:
        return complete(_only(_by_default(candidates), selector))
    fitting = by_quantization(candidates, selector)
    if not fitting:
        raise no_match(paths, candidates, selector)
    return complete(_only(fitting, selector))


def other_models(paths: Sequence[str], chosen: Sequence[str]) -> list[tuple[str, ...]]:
    """The paths of each complete model in `paths`, except the one with the `chosen` paths.

    Models that can't be fetched are left out: those of too many parts, or with invisible characters in their name.
    """
    candidates, taken = candidates_of(models_in(paths)), set(chosen)
    return [model.paths for model in candidates if _is_offered(model) and model.paths[0] not in taken]


def _is_offered(model: ListedModel) -> bool:
    return model.is_whole and is_visible(model.paths[0])


def selector_of(paths: Sequence[str], model: Sequence[str]) -> str:
    """A selector that selects the files `model` from `paths`: their quantisation if it is unique, else a path."""
    label = quantization_of(model[0])
    if label and [match.paths for match in by_quantization(candidates_of(models_in(paths)), label)] == [tuple(model)]:
        return label
    return shown(model[0])


def _by_default(candidates: Sequence[ListedModel]) -> Sequence[ListedModel]:
    best = tiers(candidates)[0]
    preferred = (by_quantization(best, quantization) for quantization in _DEFAULTS)
    return next(filter(None, preferred), best)


def _only(fitting: Sequence[ListedModel], selector: str | None) -> ListedModel:
    if len(fitting) == 1:
        return fitting[0]
    raise ambiguous(fitting, selector)
