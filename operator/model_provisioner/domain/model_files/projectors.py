"""Decides which multimodal projector of a repository or of an artifact fits a model.

`transfer.sources` calls `projector_of` for an object with `spec.projector: Auto`. The rules do not depend on the order
of the list, and never guess:

1. Candidates are the GGUF files with `mmproj` in their name, in any letter case, in the directory of the model or above
   it. A split projector is none: loaders open one file (`clip_init` of llama.cpp).
2. A nearer directory comes first: that of the model, then its parent, up to the root of the repository.
3. Of those, the nearest precision that is not below the model's; if all are below, the highest. The precision is the
   number of bits in the name. A name without one counts as 16 bits, which is what the converters write.
4. Of equal precision, the one with the quantisation of the model, then F16. Otherwise an error lists them.

llama.cpp takes the nearest number of bits, also below the model's, and the first of equal ones; Docker Model Runner
prefers F16. A projector has few bytes, and its precision limits what the model sees, so rule 3 never goes below.

In an artifact of a registry all files are of one model. Some have a type for projectors, and directories decide only
between several: `projector_in_artifact`.
"""

import re
from collections.abc import Sequence

from model_provisioner.domain.errors import AmbiguousModel, InvalidRef, SourceNotFound
from model_provisioner.domain.model_files.parts import models_in
from model_provisioner.domain.model_files.quantizations import quantization_of
from model_provisioner.domain.model_files.shown_names import enumerated, shown

NO_PROJECTOR = "ask for no projector (`None`, the default)"
"""What to do if there is no projector to be fetched with a model."""
_WORD = "mmproj"
_UNKNOWN_BITS = 16
_BITS = re.compile(r"[0-9]+")


def is_projector(path: str) -> bool:
    """Whether the name of the file is that of a projector."""
    return _WORD in path.rpartition("/")[2].casefold()


def projector_of(paths: Sequence[str], model: str) -> str:
    """The path in `paths` of the projector for the model whose first file is `model`.

    Raises SourceNotFound if there is none, AmbiguousModel if several fit equally well, InvalidRef if `model` itself is
    a projector.
    """
    if is_projector(model):
        raise InvalidRef(f"{shown(model)} is a projector itself: {NO_PROJECTOR}")
    everywhere = [found.paths[0] for found in models_in(paths) if is_projector(found.paths[0]) and found.parts == 1]
    nearest = _nearest(everywhere, model)
    if not nearest:
        raise _not_found(everywhere, model)
    fitting = _closest(nearest, model)
    if len(fitting) == 1:
        return fitting[0]
    raise AmbiguousModel(
        f"{_several(fitting, model)}, and fetch one of them by its path as a model of its own, as in "
        f":{shown(fitting[0])}"
    )


def projector_in_artifact(projectors: Sequence[str], model: str, artifact: str) -> str:
    """The one of `projectors`, all those of `artifact`, for its model whose first file is `model`.

    Raises SourceNotFound if there is none, AmbiguousModel if several fit equally well, InvalidRef if `model` itself is
    a projector.
    """
    if is_projector(model):
        raise InvalidRef(f"{shown(model)} is a projector itself: {NO_PROJECTOR}")
    if not projectors:
        raise SourceNotFound(
            f"{artifact} has no layer with a multimodal projector, so its model reads text only, or has all in one "
            f"file: {NO_PROJECTOR}, or name an artifact that has one"
        )
    fitting = _closest(_nearest(projectors, model) or projectors, model)
    if len(fitting) == 1:
        return fitting[0]
    raise AmbiguousModel(f"{_several(fitting, model)}, or name an artifact of {artifact} with one of them")


def _nearest(projectors: Sequence[str], model: str) -> list[str]:
    """The projectors in the directory that is the nearest one to the model, upwards from its own."""
    above = [path for path in projectors if model.startswith(_directory(path))]
    depth = max(map(_depth, above), default=0)
    return [path for path in above if _depth(path) == depth]


def _closest(projectors: Sequence[str], model: str) -> list[str]:
    """The best of `projectors` by precision; several if they fit equally well."""
    wanted = _bits(quantization_of(model))
    bits = {path: _bits(quantization_of(path)) for path in projectors}
    enough = [found for found in bits.values() if found >= wanted]
    best = min(enough) if enough else max(bits.values())
    equal = [path for path in projectors if bits[path] == best]
    for label in (_plain(quantization_of(model)), "F16"):
        labelled = [path for path in equal if _plain(quantization_of(path)) == label]
        if label and labelled:
            return labelled
    return equal


def _several(fitting: Sequence[str], model: str) -> str:
    return f"{len(fitting)} projectors fit {shown(model)} equally well: {enumerated(fitting)}; {NO_PROJECTOR}"


def _not_found(elsewhere: Sequence[str], model: str) -> SourceNotFound:
    if elsewhere:
        return SourceNotFound(
            f"there is no projector in the directory of {shown(model)} or above it, only {enumerated(elsewhere)}; "
            f"{NO_PROJECTOR}, and fetch that one by its path as a model of its own, as in :{shown(elsewhere[0])}"
        )
    return SourceNotFound(
        f"the repository has no multimodal projector (a .gguf file with {_WORD} in its name), so the model of "
        f"{shown(model)} reads text only: {NO_PROJECTOR}, or name a repository that has one"
    )


def _directory(path: str) -> str:
    """With its slash; empty for the root."""
    above, slash, _ = path.rpartition("/")
    return above + slash


def _depth(path: str) -> int:
    return path.count("/")


def _bits(label: str | None) -> int:
    """The bits of a weight, by the first number of the label: 4 of UD-Q4_K_XL, 16 of BF16, 4 of MXFP4 and NVFP4."""
    number = _BITS.search(label) if label else None
    return int(number.group()) if number else _UNKNOWN_BITS


def _plain(label: str | None) -> str | None:
    """`label` in the spelling of llama.cpp: FP16 is F16."""
    return label.removeprefix("UD-").replace("FP16", "F16").replace("FP32", "F32") if label else None
