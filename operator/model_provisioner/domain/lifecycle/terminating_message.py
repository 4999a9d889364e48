"""Builds the messages of an object that is being deleted: what became of its files, and what its end waits for.

`controller.reconcile.manager` writes them into the last status of an object.
"""

from collections.abc import Sequence


def released_message(deleted: int, finalizers: Sequence[str]) -> str:
    """The operator is done. `deleted` is the number of files that went; `finalizers` are those of other programs."""
    files = f"files deleted: {deleted or 'none'}"
    return f"being deleted: it has left the catalog and holds no file any more ({files}); {_waits_for(finalizers)}"


def unreleased_message(why: str) -> str:
    """The operator tries again."""
    return f"being deleted; removing it from the catalog and the volume is not finished: {why}"


def postponed_message(why: str, finalizers: Sequence[str]) -> str:
    """The operator has given up, and a later sweep removes what is left."""
    return f"being deleted: released without removing its files: {why}; {_waits_for(finalizers)}"


def _waits_for(finalizers: Sequence[str]) -> str:
    return f"it goes when its other finalizers are removed: {', '.join(finalizers)}"
