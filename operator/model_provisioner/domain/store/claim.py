"""A claim as the resource names it, and a store on it as a worker sees it. Shared by the operator and its workers."""

from dataclasses import dataclass

from model_provisioner.domain.store.modes import READABLE, Modes


@dataclass(frozen=True, slots=True)
class Claim:
    """A persistent volume claim, named as the resource names it."""

    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class StoreRef:
    """The directory a claim is mounted at, and the id that the store in it must have (None: not yet known)."""

    directory: str
    id: str | None
    modes: Modes = READABLE
