"""The states of a download that are not errors.

The state machine in `domain.lifecycle.snapshot` sets them; the status, the event stream and the metrics show them. The
errors are in `domain.errors`.
"""

from enum import StrEnum


class State(StrEnum):
    """The reasons of the Ready condition that are not errors."""

    RESOLVING = "Resolving"
    QUEUED = "Queued"
    DOWNLOADING = "Downloading"
    VERIFYING = "Verifying"
    AVAILABLE = "Available"
    SUSPENDED = "Suspended"
    TERMINATING = "Terminating"
