"""The messages between the controller and a worker, under one name: requests, and the answers to them.

The controller sends requests, a worker sends answers; `worker_protocol.codec` encodes both. The messages do not depend
on the channel: a child process has pipes, and another channel can carry the same lines.
"""

from model_provisioner.worker_protocol.answers import (
    AddressWanted,
    Answer,
    Cancelled,
    Checked,
    FailedAnswer,
    Identified,
    Located,
    MarkedCorrupt,
    Measured,
    Progress,
    Published,
    RecordedReady,
    Removed,
    ResolvedAnswer,
    Settled,
    Surveyed,
    Swept,
    Verified,
    VerifyingAnswer,
    Viewed,
)
from model_provisioner.worker_protocol.failure import Failure
from model_provisioner.worker_protocol.requests import (
    AddressGiven,
    Cancel,
    Check,
    Fetch,
    Identify,
    Limit,
    Locate,
    MarkCorrupt,
    Measure,
    RecordReady,
    Remove,
    Request,
    Resolve,
    Settle,
    Survey,
    Sweep,
    Task,
    Verify,
    View,
)

__all__ = [
    "EXIT_REASONS",
    "MAX_HUB_REQUESTS",
    "OUT_OF_MEMORY_EXIT",
    "AddressGiven",
    "AddressWanted",
    "Answer",
    "Cancel",
    "Cancelled",
    "Check",
    "Checked",
    "FailedAnswer",
    "Failure",
    "Fetch",
    "Identified",
    "Identify",
    "Limit",
    "Locate",
    "Located",
    "MarkCorrupt",
    "MarkedCorrupt",
    "Measure",
    "Measured",
    "Progress",
    "Published",
    "RecordReady",
    "RecordedReady",
    "Remove",
    "Removed",
    "Request",
    "Resolve",
    "ResolvedAnswer",
    "Settle",
    "Settled",
    "Survey",
    "Surveyed",
    "Sweep",
    "Swept",
    "Task",
    "Verified",
    "Verify",
    "VerifyingAnswer",
    "View",
    "Viewed",
]

OUT_OF_MEMORY_EXIT = 12  # ENOMEM
EXIT_REASONS = {OUT_OF_MEMORY_EXIT: "it needed more memory than it may have"}
"""What the exit codes of a worker mean, as a clause for messages."""
MAX_HUB_REQUESTS = 16
"""Concurrent requests to hubs. The controller queues more of them, because in the worker their wait would count as a
delay of the hub."""
