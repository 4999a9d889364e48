"""Names what a file of a plan is for. Sources set it, and `domain.gguf.roles` checks the header of the file against it.

It is apart from that check because a plan is read by processes that read no header.
"""

from enum import StrEnum


class FileRole(StrEnum):
    """What a file of a plan is for.

    A `NAMED` file is one whose own path was asked for: it may be an adapter, which has no other name.
    """

    MODEL = "Model"
    NAMED = "Named"
    PROJECTOR = "Projector"
