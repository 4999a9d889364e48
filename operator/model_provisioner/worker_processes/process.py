"""The process of a worker, with its pipes, as `child_process` uses it.

`ForkedProcess` is the one that the worker server has forked. It is not a child of the operator, so the server waits
for it and reports its end (`worker_protocol.forking`). Made by `worker_processes.worker_server`; what is written to
a worker is decided in `child_process`.
"""

import asyncio
import os
import signal
from typing import Protocol, Self

from model_provisioner.worker_protocol.codec import LONGEST_LINE_BYTES
from model_provisioner.worker_protocol.forking import Report, parse_report


class LineWriter(Protocol):
    """What a worker is written to: as `asyncio.StreamWriter`, one whole line at a time."""

    def write(self, line: bytes, /) -> None: ...

    async def drain(self) -> None: ...

    def close(self) -> None: ...

    def is_closing(self) -> bool: ...


class Process(Protocol):
    """What `asyncio.subprocess.Process` has too. `returncode` is None until the process has ended."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    @property
    def stdin(self) -> LineWriter | None: ...

    @property
    def stdout(self) -> asyncio.StreamReader | None: ...

    async def wait(self) -> int: ...

    def kill(self) -> None: ...


class Pipes:
    """The operator's ends of the pipes of a worker."""

    def __init__(
        self, stdin: asyncio.StreamWriter, stdout: asyncio.StreamReader, reading: asyncio.BaseTransport
    ) -> None:
        self.stdin = stdin
        self.stdout = stdout
        self._reading = reading

    @classmethod
    async def open(cls, stdin: int, stdout: int) -> Self:
        """Takes over the descriptors `stdin`, to write to, and `stdout`, to read from."""
        loop = asyncio.get_running_loop()
        writing, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, os.fdopen(stdin, "wb", 0))
        lines = asyncio.StreamReader(limit=LONGEST_LINE_BYTES)
        reading, _ = await loop.connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(lines), os.fdopen(stdout, "rb", 0)
        )
        return cls(asyncio.StreamWriter(writing, protocol, None, loop), lines, reading)

    def close(self) -> None:
        """Also what was not read is lost."""
        self.stdin.close()
        self._reading.close()


class ForkedProcess:
    """`report` and `control` are the two directions of the socket on which the server reports about process `pid`."""

    def __init__(self, pid: int, pipes: Pipes, report: asyncio.StreamReader, control: asyncio.StreamWriter) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._pipes = pipes
        self._control = control
        self._ending = asyncio.create_task(self._wait_for_end(report), name=f"worker-{pid}-end")

    @property
    def stdin(self) -> asyncio.StreamWriter:
        return self._pipes.stdin

    @property
    def stdout(self) -> asyncio.StreamReader:
        return self._pipes.stdout

    async def wait(self) -> int:
        """Returns the exit code when the process has ended; of one that a signal has ended, the negative number."""
        return await asyncio.shield(self._ending)

    def kill(self) -> None:
        """Has the server send SIGKILL, and reads no more of what the process writes.

        The server does it and not the operator, because only the parent knows that the process id is not another's by
        now. If the server is dead, its workers are, too.
        """
        self._control.write_eof()
        self._pipes.close()

    async def _wait_for_end(self, report: asyncio.StreamReader) -> int:
        code = parse_report(Report.ENDED, await read_report(report))
        # Without a report the server has died, and the kernel kills its workers (PR_SET_PDEATHSIG).
        self.returncode = -signal.SIGKILL if code is None else code
        self._control.close()
        self._pipes.stdin.close()
        return self.returncode


async def read_report(report: asyncio.StreamReader) -> bytes:
    """The next line; b"" if the other end was closed."""
    try:
        return await report.readline()
    except ConnectionError:
        return b""
