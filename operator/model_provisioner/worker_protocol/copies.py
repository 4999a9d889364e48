"""How a worker pod copies files that are published on a claim of the operator: the route, and what a fetch is told.

`controller.workers.door` serves the route, `transfer.download.requests.copies` asks for it. Which files may be copied
is decided in `domain.store.copying`.
"""

from dataclasses import dataclass, field

FILES_PATH = "/v1/files"
"""The file of a grant is at FILES_PATH/GRANT, in ranges (RFC 9110, 14)."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The file at `path` of the plan can be had from the operator. `grant` is a secret for this fetch alone."""

    path: str
    grant: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class DoorAddress:
    """Where a worker pod reaches the operator, HOST:PORT, and how it proves what it is.

    `job` is NAMESPACE/NAME of the pod's Job. `files` is a directory with `ca.crt` and `token`. `server_name` is that of
    the operator's certificate.
    """

    address: str
    job: str
    files: str
    server_name: str
