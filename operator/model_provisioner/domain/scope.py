"""Which namespaces are served: those of a list, or every one. Pure; read by the operator, its workers and `release`."""

from collections.abc import Collection

EVERY_NAMESPACE = "*"
"""Stands alone in a list of namespaces, and means those that will be created later, too."""


def is_everywhere(namespaces: Collection[str]) -> bool:
    """Whether `namespaces` means every namespace of the cluster."""
    return EVERY_NAMESPACE in namespaces


def covers(namespaces: Collection[str], namespace: str) -> bool:
    """Whether `namespace` is one of `namespaces`."""
    return is_everywhere(namespaces) or namespace in namespaces


def check(namespaces: Collection[str]) -> None:
    """Raises ValueError if the list says both."""
    if is_everywhere(namespaces) and len(namespaces) > 1:
        raise ValueError(f"{EVERY_NAMESPACE} means every namespace, so it stands alone: leave the others out")
