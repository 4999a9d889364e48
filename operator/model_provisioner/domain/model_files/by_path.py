"""Finds the models that a path selects: the path of a file, or that of a directory with a slash at its end.

`domain.model_files.selection` has the rule in words and calls this.
"""

from collections.abc import Sequence

from model_provisioner.domain.errors import SourceNotFound
from model_provisioner.domain.model_files.parts import ListedModel, in_pieces, models_in, pieces_in
from model_provisioner.domain.model_files.refusals import ambiguous, listed, not_found
from model_provisioner.domain.model_files.shown_names import kinds, shown


def by_path(models: Sequence[ListedModel], path: str) -> list[ListedModel]:
    """The models that have a file at `path`; letter case is ignored if no file has exactly this path.

    Raises SourceNotFound.
    """
    exact = [model for model in models if path in model.paths]
    folded = path.casefold()
    fitting = exact or [model for model in models if folded in map(str.casefold, model.paths)]
    if not fitting:
        raise not_found(path, models)
    return fitting


def inside(paths: Sequence[str], directory: str) -> list[str]:
    """The paths below `directory`, at least one of them a model.

    Raises SourceNotFound, AmbiguousModel if directories differ only in letter case, UnsupportedSource for raw pieces.
    """
    depth = directory.count("/")
    places = {path: "".join(f"{part}/" for part in path.split("/")[:-1][:depth]) for path in paths}
    fitting = {directory} & {*places.values()} or {
        place for place in places.values() if place.casefold() == directory.casefold()
    }
    found = [path for path in paths if places[path] in fitting]
    models = models_in(found)
    if not models and (pieces := pieces_in(found)):
        raise in_pieces(pieces)
    if not models:
        what = f"holds no GGUF file, only {kinds(found)}" if found else "is not there"
        raise SourceNotFound(
            f"the directory {shown(directory)} {what}; the repository has {listed(models_in(paths))}; name one of these"
        )
    if len(fitting) > 1:
        raise ambiguous(models, directory)
    return found
