"""How the operator asks the worker server for a process, and what it is told about it.

The standard input of the server is a Unix stream socket. A request is one byte, a `Role`, with `DESCRIPTORS`
descriptors (SCM_RIGHTS, unix(7)): the worker's standard input, its standard output, and a stream socket for reports.
These are two lines: from the worker `started` and its process id, when it will die with the server; from the server
`ended` and the exit code (negative for a signal, as `subprocess.Popen.returncode`). When the operator ends its
direction of that socket, the server kills the worker. The end of the server's standard input ends the server.

Used by `worker_processes.worker_server` and `transfer.worker.worker_server`; the lines between operator and worker
are in `worker_protocol.codec`.
"""

from enum import Enum

DESCRIPTORS = 3


class Role(Enum):
    """What a worker does, as the byte that asks for it."""

    FETCHER = b"f"
    STORE = b"s"
    RESOLVER = b"r"

    @property
    def process_name(self) -> str:
        """What ps(1) shows as the command (prctl(2), PR_SET_NAME: at most 15 bytes)."""
        return f"model-{self.name.lower()}"


class Report(Enum):
    """What a line of the report says."""

    STARTED = b"started"
    ENDED = b"ended"


SERVER_PROCESS_NAME = "model-workers"


def report_line(report: Report, number: int) -> bytes:
    """The line that says so of this process id or exit code."""
    return b"%s %d\n" % (report.value, number)


def parse_report(report: Report, line: bytes) -> int | None:
    """The number of a `line` that `report_line` has made; None if it is no such report, or the socket was closed."""
    kind, _, number = line.rstrip().partition(b" ")
    return int(number) if kind == report.value and number else None
