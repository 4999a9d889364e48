"""A claim as the resource names it, and the store on its volume as a worker sees it. Part of `worker_protocol`."""

from collections.abc import Iterable
from dataclasses import dataclass

from model_provisioner.domain.store.modes import READABLE, Modes

ONE_POD = "ReadWriteOncePod"
"""The access mode of a claim that one pod alone can use; such a claim has no other mode."""
_ONE_NODE = frozenset({"ReadWriteOnce", ONE_POD})


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


def is_on_one_node(access_modes: Iterable[str]) -> bool:
    """Whether a claim with these access modes can be mounted by one node only."""
    modes = frozenset(access_modes)
    return bool(modes) and modes <= _ONE_NODE
