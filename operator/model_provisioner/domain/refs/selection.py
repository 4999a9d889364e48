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

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

from model_provisioner.domain.errors import AmbiguousModel, IncompleteModel, SourceNotFound, UnsupportedSource
from model_provisioner.domain.gguf.format import FILE_TYPES
from model_provisioner.domain.refs.file_names import is_visible

MAX_PARTS = 4096
"""The most parts of a model, as the resource's `status.model.files` has room for."""
_DEFAULTS = ("Q4_K_M", "Q8_0")
_MAX_LISTED = 20
_SUFFIX = re.compile(r"\.gguf\Z", re.IGNORECASE)
_PART = re.compile(
    r"(?P<stem>.*)-(?P<number>[0-9]{5})(?P<end>-of-(?P<count>[0-9]{5})\.gguf)", re.IGNORECASE | re.DOTALL
)
_RAW_PIECE = re.compile(r"\.gguf[._-](?:part|split)", re.IGNORECASE)
_WORD_CHARACTERS = re.compile(r"[\w.-]*")
_QUANTIZATION = re.compile(
    r"(?:^|(?<=[-._/]))(?:UD-)?"
    r"(?:I?Q[1-8]_(?:K|[01]|XXS|XS|NL|S|M|L|XL)(?:_(?:XXS|XS|S|M|L|XL|[48]_[48]))?"
    r"|TQ[12]_0|MXFP4(?:_MOE)?|NVFP4|BF16|FP?16|FP?32)"
    r"(?=[-._/]|$)"
)


class _Standing(IntEnum):
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
        (_DIRECTORY, r"(?:^|/)(?:mmproj|imatrix)/", _Standing.PROJECTOR_OR_MATRIX),
        (_NAME, "mmproj", _Standing.PROJECTOR_OR_MATRIX),
        (_NAME, rf"\Aimatrix{_END}", _Standing.PROJECTOR_OR_MATRIX),
        (_NAME, rf"\A(?!.*[-._]{_QUANTIZED}).*[-._]imatrix{_END}", _Standing.PROJECTOR_OR_MATRIX),
        (_DIRECTORY, rf"(?:^|/)(?:mtp|{_DRAFTERS})/", _Standing.DRAFTER),
        (_NAME, rf"\A(?:mtp|{_DRAFTERS}){_END}", _Standing.DRAFTER),
        (_NAME, rf"[-._]{_DRAFTERS}{_END}", _Standing.PROBABLY_DRAFTER),
        (_NAME, rf"[-._](?:mtp|imatrix){_END}", _Standing.VARIANT),
    )
)
"""Patterns for the directory (with its slash) or the name (without .gguf); the first that matches decides. A path that
none matches is a MODEL. Each pattern looks at a character a bounded number of times, because names are untrusted."""


@dataclass(frozen=True, slots=True)
class _Model:
    """One model of a list of files: the `paths` found, in the order of the parts, and how many `parts` it has."""

    paths: tuple[str, ...]
    parts: int = 1


def select(paths: Sequence[str], selector: str | None) -> tuple[str, ...]:
    """The paths of the model that `selector` means, a subset of `paths`; the parts of a split model in order.

    Raises AmbiguousModel if several models match, SourceNotFound if none does, IncompleteModel if parts are missing,
    and UnsupportedSource if the repository has the model only as raw pieces or in more than 4,096 parts. Takes time in
    proportion to the characters of `paths`, which are untrusted.
    """
    models = _models(paths)
    if not models:
        raise _no_model(paths)
    if selector is not None and _SUFFIX.search(selector):
        return _complete(_only(_by_path(models, selector), selector))
    in_directory = selector is not None and selector.endswith("/")
    if selector is not None and in_directory:
        paths = _inside(paths, selector)
        models = _models(paths)
    candidates = _candidates(models)
    if _standing(candidates[0]) > _Standing.VARIANT and (pieces := _pieces(paths)):
        raise _in_pieces(pieces)
    if selector is None or in_directory:
        return _complete(_only(_by_default(candidates), selector))
    fitting = _by_quantization(candidates, selector)
    if not fitting:
        raise _no_match(paths, candidates, selector)
    return _complete(_only(fitting, selector))


def other_models(paths: Sequence[str], chosen: Sequence[str]) -> list[tuple[str, ...]]:
    """The paths of each complete model in `paths`, except the one with the `chosen` paths.

    Models that can't be fetched are left out: those of too many parts, or with invisible characters in their name.
    """
    candidates, taken = _candidates(_models(paths)), set(chosen)
    return [model.paths for model in candidates if _is_offered(model) and model.paths[0] not in taken]


def _is_offered(model: _Model) -> bool:
    return len(model.paths) == model.parts <= MAX_PARTS and is_visible(model.paths[0])


def selector_of(paths: Sequence[str], model: Sequence[str]) -> str:
    """A selector that selects the files `model` from `paths`: their quantisation if it is unique, else a path."""
    label = quantization_of(model[0])
    if label and [match.paths for match in _by_quantization(_candidates(_models(paths)), label)] == [tuple(model)]:
        return label
    return _shown(model[0])


def parts_of(path: str) -> tuple[str, ...]:
    """The paths of all parts of the model that `path` is a part of, at most 4,096; `path` alone if it is no part."""
    part = _PART.fullmatch(path)
    if not part or not 1 <= int(part["number"]) <= int(part["count"]) <= MAX_PARTS:
        return (path,)
    return tuple(_parts(path, int(part["count"])))


def _parts(path: str, count: int) -> list[str]:
    return [_PART.sub(rf"\g<stem>-{number:05}\g<end>", path) for number in range(1, count + 1)]


def quantization_of(path: str) -> str | None:
    """The quantisation that a path names, in upper case, as a label for users; None if it names none."""
    directory, _, name = path.rpartition("/")
    return _label(_stem(name)) or _label(directory)


def _models(paths: Iterable[str]) -> list[_Model]:
    single: list[_Model] = []
    split: dict[tuple[str, str, int], list[str]] = {}
    for path in sorted(set(paths)):
        part = _PART.fullmatch(path)
        if part and 1 <= int(part["number"]) <= int(part["count"]):
            split.setdefault((part["stem"], part["end"], int(part["count"])), []).append(path)
        elif _SUFFIX.search(path):
            single.append(_Model((path,)))
    joined = [_Model(tuple(parts), count) for (*_, count), parts in split.items()]
    return sorted([*single, *joined], key=lambda model: model.paths)


def _standing(model: _Model) -> _Standing:
    directory, slash, name = _stem(model.paths[0]).rpartition("/")
    texts = (directory + slash, name)
    return next((standing for place, pattern, standing in _STANDINGS if pattern.search(texts[place])), _Standing.MODEL)


def _candidates(models: Sequence[_Model]) -> list[_Model]:
    """The models and the variants; if there are none, those of the next best standing."""
    standings = list(map(_standing, models))
    worst = max(min(standings, default=_Standing.MODEL), _Standing.VARIANT)
    return [model for model, standing in zip(models, standings, strict=True) if standing <= worst]


def _tiers(candidates: Sequence[_Model]) -> list[list[_Model]]:
    """The candidates of each standing, the best first."""
    tiers: dict[_Standing, list[_Model]] = {}
    for model in candidates:
        tiers.setdefault(_standing(model), []).append(model)
    return [tiers[standing] for standing in sorted(tiers)]


def _by_path(models: Sequence[_Model], path: str) -> list[_Model]:
    exact = [model for model in models if path in model.paths]
    folded = path.casefold()
    fitting = exact or [model for model in models if folded in map(str.casefold, model.paths)]
    if not fitting:
        raise _not_found(path, models)
    return fitting


def _inside(paths: Sequence[str], directory: str) -> list[str]:
    """The paths below `directory`, at least one of them a model."""
    depth = directory.count("/")
    places = {path: "".join(f"{part}/" for part in path.split("/")[:-1][:depth]) for path in paths}
    fitting = {directory} & {*places.values()} or {
        place for place in places.values() if place.casefold() == directory.casefold()
    }
    inside = [path for path in paths if places[path] in fitting]
    models = _models(inside)
    if not models and (pieces := _pieces(inside)):
        raise _in_pieces(pieces)
    if not models:
        what = f"holds no GGUF file, only {_kinds(inside)}" if inside else "is not there"
        raise SourceNotFound(
            f"the directory {_shown(directory)} {what}; the repository has {_listed(_models(paths))}; name one of these"
        )
    if len(fitting) > 1:
        raise _ambiguous(models, directory)
    return inside


def _by_default(candidates: Sequence[_Model]) -> Sequence[_Model]:
    best = _tiers(candidates)[0]
    preferred = (_by_quantization(best, quantization) for quantization in _DEFAULTS)
    return next(filter(None, preferred), best)


def _by_quantization(candidates: Sequence[_Model], quantization: str) -> list[_Model]:
    """The best matches; several if they match equally well."""
    return next(filter(None, (_labelled(tier, quantization) for tier in _tiers(candidates))), [])


def _labelled(tier: Sequence[_Model], quantization: str) -> list[_Model]:
    names = {model: _stem(model.paths[0].rpartition("/")[2]) for model in tier}
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


def _only(fitting: Sequence[_Model], selector: str | None) -> _Model:
    if len(fitting) == 1:
        return fitting[0]
    raise _ambiguous(fitting, selector)


def _ambiguous(fitting: Sequence[_Model], selector: str | None) -> AmbiguousModel:
    first = fitting[0].paths[0]
    label = None if selector and selector.endswith("/") else quantization_of(first)
    unique = label is not None and [quantization_of(model.paths[0]) for model in fitting].count(label) == 1
    example = f"its quantisation, as in :{label}, or its path, as in" if unique else "its path, as in"
    what = f" {_shown(selector)}" if selector else ""
    return AmbiguousModel(
        f"{len(fitting)} models fit{what}: {_listed(fitting)}; name one by {example} :{_shown(first)}"
    )


def _complete(model: _Model) -> tuple[str, ...]:
    if model.parts > MAX_PARTS:
        raise UnsupportedSource(
            f"{_shown(model.paths[0])} is one of {model.parts} parts, and a model may have {MAX_PARTS}: choose another "
            "model of the repository, or upload it in fewer parts"
        )
    missing = model.parts - len(model.paths)
    if not missing:
        return model.paths
    there = set(model.paths)
    names = _parts(model.paths[0], model.parts)
    raise IncompleteModel(
        f"{missing} of {model.parts} parts are missing in the repository: "
        f"{_enumerated([name for name in names if name not in there])}; "
        "choose another model or revision, or upload the parts"
    )


def _no_match(paths: Sequence[str], candidates: Sequence[_Model], selector: str) -> SourceNotFound | UnsupportedSource:
    fitting = _by_quantization([_Model((piece,)) for piece in _pieces(paths)], selector)
    if fitting:
        return _in_pieces([model.paths[0] for model in fitting])
    return _not_found(selector, candidates)


def _not_found(selector: str, models: Sequence[_Model]) -> SourceNotFound:
    return SourceNotFound(
        f"{_shown(selector)} is not in the repository, which has {_listed(models)}; name one of these"
    )


def _no_model(paths: Sequence[str]) -> SourceNotFound | UnsupportedSource:
    if pieces := _pieces(paths):
        return _in_pieces(pieces)
    return SourceNotFound(
        f"the repository has no GGUF file, {f'only {_kinds(paths)}' if paths else 'nor any other'}: "
        "look for a repository of this model in GGUF, often one whose name ends in -GGUF"
    )


def _pieces(paths: Iterable[str]) -> list[str]:
    return [path for path in sorted(set(paths)) if _is_piece(path)]


def _is_piece(path: str) -> bool:
    """Whether `.gguf.part…` or the like stands in the word characters, dots and hyphens that end the path."""
    ending = _WORD_CHARACTERS.match(path[::-1])
    return bool(ending and _RAW_PIECE.search(path, len(path) - ending.end()))


def _in_pieces(pieces: Sequence[str]) -> UnsupportedSource:
    return UnsupportedSource(
        f"the model is there only in raw pieces, which this version does not join: {_enumerated(pieces)}; "
        "choose another quantisation, or a repository that splits models into -00001-of-0000N.gguf files"
    )


def _label(text: str) -> str | None:
    """The last quantisation in `text`: in `model-f32-Q4_K_M`, F32 is the type that the model was made from."""
    found = _QUANTIZATION.findall(text.upper())
    return found[-1] if found else None


def _stem(name: str) -> str:
    return _SUFFIX.sub("", name)


def _kinds(paths: Iterable[str]) -> str:
    """The most frequent kinds of file, with their numbers."""
    kinds = Counter(_kind(path) for path in set(paths)).most_common()
    return ", ".join(
        f"{count} × {_shown(kind)}" for kind, count in sorted(kinds, key=lambda kind: (-kind[1], kind[0]))[:8]
    )


def _kind(path: str) -> str:
    name = path.rpartition("/")[2]
    stem, dot, extension = name.rpartition(".")
    return f".{extension}" if dot and stem else name


def _listed(models: Sequence[_Model]) -> str:
    return _enumerated([model.paths[0] for model in models])


def _enumerated(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MAX_LISTED} more" if len(names) > _MAX_LISTED else ""
    return ", ".join(map(_shown, names[:_MAX_LISTED])) + more


def _shown(text: str) -> str:
    """The text, shortened and printable: names come from the source, and messages go to terminals and logs."""
    shortened = text[:255]
    return "".join(
        char if char.isprintable() and is_visible(char) else "\N{REPLACEMENT CHARACTER}" for char in shortened
    )
