"""Names the other models among the files of a repository or a bucket, for the message of a suspended object."""

from collections.abc import Iterable, Mapping, Sequence

from model_provisioner.domain.lifecycle.suspended_message import MOST_ALTERNATIVES, Alternative, Alternatives
from model_provisioner.domain.model_files.selection import other_models, selector_of

_MOST_COMPARED = 1000
"""With more models in one repository, the others are only counted: to name them takes time for each."""


def alternatives(sizes: Mapping[str, int | None], chosen: Sequence[str]) -> Alternatives:
    """The other models among the paths in `sizes`: those nearest in size to the `chosen` one, sorted by size.

    Sizes are in bytes. Models whose size is not known (None) are only counted.
    """
    wanted, names = _total(sizes, chosen) or 0, list(sizes)
    models = other_models(names, chosen)
    if len(models) > _MOST_COMPARED:
        return Alternatives((), len(models))
    known = {model: size for model in models if (size := _total(sizes, model)) is not None}
    nearest = sorted(known, key=lambda model: abs(known[model] - wanted))[:MOST_ALTERNATIVES]
    nearest.sort(key=lambda model: known[model])
    named = tuple(Alternative(selector_of(names, model), known[model]) for model in nearest)
    return Alternatives(named, len(models) - len(named))


def _total(sizes: Mapping[str, int | None], paths: Iterable[str]) -> int | None:
    """The sum of the sizes; None if one of them is not known."""
    total = 0
    for path in paths:
        size = sizes[path]
        if size is None:
            return None
        total += size
    return total
