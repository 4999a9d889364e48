"""Puts the files of one engine together, one for each claim, and limits their size.

`controller.catalog.engine_rows` makes a section when a model is published, and asks for the files when they are
written. One model never costs another its place: a model that the format can't list is left out with a comment, and
beyond the limit the objects that were created last are left out.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from model_provisioner.domain.catalog import LIMIT_BYTES
from model_provisioner.domain.engines.engine import Engine
from model_provisioner.domain.engines.served_model import ServedModel
from model_provisioner.domain.gguf.servable import why_not_served
from model_provisioner.domain.modeldownload import Model

_MAX_KEY = 253  # characters of a key of a ConfigMap


@dataclass(frozen=True, slots=True)
class Section:
    """What the file of `claim` says of the object `name`. `left_out` says why the engine gets no entry for it, or None.

    `text` ends with a line break. If the model is left out it is a comment.
    """

    name: str
    claim: str
    text: str
    left_out: str | None = None


@dataclass(slots=True)
class _File:
    sections: list[Section] = field(default_factory=list)
    without_room: int = 0


def section(engine: Engine, name: str, model: Model, mount_path: str) -> Section:
    """The section of the object `name`, whose files engines find below `mount_path`."""
    served = ServedModel.of(name, model, mount_path)
    why = _not_a_model(model) or _long_key(engine, model.claim_name) or engine.obstacle(served)
    if why:
        return Section(name, model.claim_name, f"{engine.comment} {name} is left out: {why}\n", why)
    return Section(name, model.claim_name, engine.entry(served))


def documents(engine: Engine, sections: Iterable[Section], limit: int = LIMIT_BYTES) -> dict[str, str]:
    """The `data` of the engine's ConfigMap: the file of each claim that has an entry, comments first, ordered by names.

    `sections` come in the order in which they get a place, the oldest object first. `limit` is in bytes, of keys and
    values without a last comment in each file.
    """
    files: dict[str, _File] = {}
    used = 0
    for one in sections:
        file = files.setdefault(one.claim, _File())
        needed = len(one.text.encode())
        if not file.sections:
            needed += len(engine.key(one.claim)) + len(engine.opening.encode())
        if used + needed > limit:
            file.without_room += 1
        else:
            used += needed
            file.sections.append(one)
    return {engine.key(claim): _text(engine, file) for claim, file in sorted(files.items()) if _has_entry(file)}


def _has_entry(file: _File) -> bool:
    return any(one.left_out is None for one in file.sections)


def _text(engine: Engine, file: _File) -> str:
    ordered = sorted(file.sections, key=lambda one: (one.left_out is None, one.name))
    note = f"{engine.comment} {file.without_room} further models are left out: the ConfigMap has no room\n"
    return engine.opening + "".join(one.text for one in ordered) + (note if file.without_room else "")


def _not_a_model(model: Model) -> str | None:
    why = why_not_served(model.gguf)
    return f"it {why}" if why else None


def _long_key(engine: Engine, claim: str) -> str | None:
    if len(engine.key(claim)) > _MAX_KEY:
        return f"the name of its claim is too long for a key of the ConfigMap {engine.config_map_name}"
    return None
