"""A claim as the resource names it, and the store on its volume as a worker sees it. Part of `worker_protocol`."""

from dataclasses import dataclass

from model_provisioner.domain.store.modes import READABLE, Modes


@dataclass(frozen=True, slots=True)
class Claim:
    """A persistent volume claim."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class StoreRef:
    """The directory where a claim is mounted, and the id of the store in it (None: not known yet)."""

    directory: str
    id: str | None
    modes: Modes = READABLE
